"""One picture of a procedural category before any pixel: where the joints lie, what hides them, the box around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from capetune.datasets.synthetic.shapes import Shape

MIN_VISIBLE = 4


@dataclass(frozen=True, eq=False)
class Scene:
    """An object placed in an image. All in pixels of the image.

    image_size: (width, height). joints: float (J, 2), hidden pivots too. depth: float (J), away from the viewer.
    zoom: float (J), pixels a unit at each joint. occluders: polygons, float (M, 2) each, drawn over the object.
    box: float (4,) xywh, inside the image. xy: float (K, 2), 0 where visibility is 0. visibility: int (K), 2 seen,
    1 labelled though an occluder hides it, 0 not labelled: hidden, outside the image, or left out.
    """

    image_size: tuple[int, int]
    joints: np.ndarray
    depth: np.ndarray
    zoom: np.ndarray
    occluders: tuple[np.ndarray, ...]
    box: np.ndarray
    xy: np.ndarray
    visibility: np.ndarray


def pose(shape: Shape, rng: np.random.Generator, size: int) -> Scene:
    """Bend the joints, look at the object from somewhere, place it in an image whose longer side is `size`."""
    flat, away, zoom = _view(shape, _articulate(shape, rng), rng)
    short = round(size * rng.uniform(0.75, 1.0))
    width, height = (size, short) if rng.random() < 0.5 else (short, size)
    reach = shape.radius[:, None] * zoom[:, None]
    low, high = (flat - reach).min(axis=0), (flat + reach).max(axis=0)
    frame = np.array([width, height], dtype=float)
    scale = rng.uniform(0.66, 0.94) * (frame / (high - low)).min()
    room = frame - scale * (high - low)
    spill = 0.1 * scale * (high - low) if rng.random() < 0.1 else np.zeros(2)  # some objects leave the picture
    corner = rng.uniform(-spill, room + spill)
    joints = (flat - low) * scale + corner
    zoom = zoom * scale
    margin = rng.uniform(0.0, 0.035, 4) * scale * (high - low).max()
    start = np.clip(corner - margin[:2], 0, frame - 1)
    stop = np.clip(corner + scale * (high - low) + margin[2:], 0, frame - 1)
    points = joints[shape.keypoints]
    occluders = _occluders(joints, scale * (high - low).max(), rng)
    visibility = _visibility(points, frame, occluders, rng)
    if (visibility > 0).sum() < MIN_VISIBLE:
        occluders, visibility = (), np.where(_inside(points, frame), 2, 0)
    return Scene(
        image_size=(width, height),
        joints=joints,
        depth=away,
        zoom=zoom,
        occluders=occluders,
        box=np.concatenate([start, stop - start]),
        xy=np.where(visibility[:, None] > 0, points, 0.0),
        visibility=visibility,
    )


def _articulate(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """(J, 3) joints of a bent, stretched individual, in units."""
    count = len(shape.parent)
    bend = np.clip(rng.standard_normal(count), -2, 2) * shape.swing
    length = shape.length * np.exp(rng.standard_normal(count) * shape.stretch)
    heading, place = np.zeros(count), np.zeros((count, 3))
    for j in range(count):
        parent = shape.parent[j]
        heading[j] = shape.angle[j] + bend[j] + (heading[parent] if parent >= 0 else 0.0)
        if parent >= 0:
            step = length[j] * np.cos(heading[j]), length[j] * np.sin(heading[j]), shape.depth[j]
            place[j] = place[parent] + step
    return place


def _view(shape: Shape, place: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn, flip, shear and project (J, 3) units. Returns (J, 2) picture units, (J) depth, (J) local scale."""
    yaw, pitch = (mean + spread * np.clip(rng.standard_normal(), -2, 2) for mean, spread in (shape.yaw, shape.pitch))
    turn_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    solid = (place - place.mean(axis=0)) @ (turn_x @ turn_y).T
    near = 1 / (1 + 0.25 * solid[:, 2])
    flat = solid[:, :2] * near[:, None]
    if rng.random() < shape.mirror:
        flat = flat * (-1, 1)
    angle = shape.rotation * rng.uniform(-1, 1)
    aspect, shear = np.exp(rng.normal(0, 0.1)), rng.normal(0, 0.1)
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return flat @ (rotate @ np.array([[aspect, shear], [0, 1 / aspect]])).T, solid[:, 2], near


def _occluders(joints: np.ndarray, extent: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Up to two irregular polygons somewhere on the object."""
    found = []
    for _ in range(int(rng.choice(3, p=[0.6, 0.3, 0.1]))):
        centre = joints[rng.integers(len(joints))] + rng.normal(0, 0.05 * extent, 2)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        radius = extent * rng.uniform(0.05, 0.13) * rng.uniform(0.7, 1.3, 7)
        found.append(centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return tuple(found)


def _visibility(
    points: np.ndarray, frame: np.ndarray, occluders: tuple[np.ndarray, ...], rng: np.random.Generator
) -> np.ndarray:
    """(K) int, as in Scene. Hidden keypoints are as often labelled as not; 2 % are left out for no reason."""
    hidden = np.zeros(len(points), dtype=bool)
    for polygon in occluders:
        hidden |= _covers(polygon, points)
    labelled, kept = rng.random(len(points)) < 0.5, rng.random(len(points)) > 0.02
    seen = np.where(hidden, np.where(labelled, 1, 0), 2)
    return np.where(_inside(points, frame) & kept, seen, 0)


def _inside(points: np.ndarray, frame: np.ndarray) -> np.ndarray:
    return np.all((points >= 0) & (points <= frame - 1), axis=1)


def _covers(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(K) bool, True = inside the polygon (M, 2): an odd number of its sides lie to the right."""
    a, b = polygon[None], np.roll(polygon, -1, axis=0)[None]
    x, y = points[:, :1], points[:, 1:]
    spans = (a[..., 1] > y) != (b[..., 1] > y)
    rise = np.where(spans, b[..., 1] - a[..., 1], 1.0)
    crossing = a[..., 0] + (y - a[..., 1]) * (b[..., 0] - a[..., 0]) / rise
    return (spans & (x < crossing)).sum(axis=1) % 2 == 1
