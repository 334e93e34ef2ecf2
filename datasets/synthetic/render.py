"""Draw a scene: clutter behind, the object's parts from far to near, marks on its joints, what hides it, the camera."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from capetune.datasets.synthetic.pose import Scene
from capetune.datasets.synthetic.shapes import Part, Shape

BITS = 4  # OpenCV draws at fixed-point coordinates of 1/16 pixel
CIRCLE = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 14)[:-1]])
CAP = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(-np.pi / 2, np.pi / 2, 6)])  # the round end of a limb
PATTERNS = ("plain", "bands", "stripe", "spots")
MARKS = ("disc", "ring", "square", "spike")


@dataclass(frozen=True)
class Look:
    """What a category looks like in every image. Colours are RGB in 0…255.

    tones: one a `Part.tone`. outline: around each part, with its width in pixels at 160. marks: colour of keypoints
    with one, two, three or more edges, so that ends, joints and branchings differ. end_mark: shape of an end.
    mark_size: factor on the radius of a mark. pattern: on limbs and plates, in `pattern_tone`.
    """

    tones: np.ndarray
    outline: np.ndarray
    outline_width: float
    marks: np.ndarray
    end_mark: str
    joint_mark: str
    mark_size: float
    pattern: str
    pattern_tone: np.ndarray


def look(rng: np.random.Generator) -> Look:
    """Draw a category's look."""
    hue = rng.random()
    hues = (hue + np.array([0.0, rng.choice([0.0, 0.06, 0.5]), rng.choice([0.1, 0.33, 0.66])])) % 1
    saturation, value = rng.uniform(0.25, 0.95, 3), rng.uniform(0.45, 0.95, 3)
    tones = _rgb(hues, saturation, value)
    dark = rng.random() < 0.75
    bright = value.mean() < 0.7 or (dark and rng.random() < 0.6)  # marks stand out from the flesh or from their rim
    mark_value = rng.uniform(0.75, 1.0, 3) if bright else rng.uniform(0.05, 0.35, 3)
    return Look(
        tones=tones,
        outline=tones[0] * 0.25 if dark else 255 - (255 - tones[0]) * 0.2,
        outline_width=float(rng.choice([1.0, 1.5, 2.0])),
        marks=_rgb((hue + rng.uniform(0.2, 0.8, 3)) % 1, rng.uniform(0.1, 1.0, 3), mark_value),
        end_mark=str(rng.choice(MARKS)),
        joint_mark=str(rng.choice(MARKS[:3])),
        mark_size=float(rng.uniform(0.75, 1.15)),
        pattern=str(rng.choice(PATTERNS)),
        pattern_tone=_rgb(np.array([hue + 0.5]) % 1, rng.uniform(0.2, 0.9, 1), rng.uniform(0.2, 1.0, 1))[0],
    )


def draw(shape: Shape, look: Look, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The picture of a scene: uint8 (H, W, 3) RGB. `rng` decides what a keypoint doesn't depend on."""
    tint = rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3)
    tones, width = look.tones * tint, max(scene.image_size)
    canvas = _background(scene, tones[0], rng)
    # In a layer: plates below limbs, or half of a ring's rim would hide under its filling; then far before near.
    order = sorted(shape.parts, key=lambda p: (p.layer, len(p.joints) == 2, -scene.depth[list(p.joints)].mean()))
    for part in order:
        _part(canvas, part, look, tones, scene, width / 160)
    _marks(canvas, shape, look, tint, scene, width / 160)
    for polygon in scene.occluders:
        colour = rng.uniform(0, 255, 3)
        _fill(canvas, polygon, colour)
        _line(canvas, polygon, colour * 0.5, 1.0)
    return _camera(canvas, rng)


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    return 255 * np.array([colorsys.hsv_to_rgb(*c) for c in zip(hue, saturation, value, strict=True)])


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.rint(points * (1 << BITS)).astype(np.int32)


def _fill(canvas: np.ndarray, polygon: np.ndarray, rgb: np.ndarray) -> None:
    cv2.fillPoly(canvas, [_fixed(polygon)], rgb.tolist(), cv2.LINE_AA, BITS)  # OpenCV clips colours to 0…255


def _line(canvas: np.ndarray, polygon: np.ndarray, rgb: np.ndarray, width: float, closed: bool = True) -> None:
    cv2.polylines(canvas, [_fixed(polygon)], closed, rgb.tolist(), max(1, round(width)), cv2.LINE_AA, BITS)


def _limb(a: np.ndarray, b: np.ndarray, ra: float, rb: float, bulge: float) -> np.ndarray:
    """(M, 2) outline of a limb from a to b: round caps of radius ra and rb, wider by `bulge` halfway."""
    along = b - a
    ahead = along / max(float(np.hypot(*along)), 1e-6) if along.any() else np.array([1.0, 0.0])
    across = np.array([-ahead[1], ahead[0]])
    cap = CAP @ np.stack([ahead, across])
    if bulge <= 0:
        return np.concatenate([b + rb * cap, a - ra * cap])
    t = np.array([0.25, 0.5, 0.75])[:, None]
    wide = (ra + (rb - ra) * t + bulge * 4 * t * (1 - t)) * across
    return np.concatenate([b + rb * cap, (a + along * t + wide)[::-1], a - ra * cap, a + along * t - wide])


def _part(canvas: np.ndarray, part: Part, look: Look, tones: np.ndarray, scene: Scene, pixel: float) -> None:
    points = scene.joints[list(part.joints)]
    zoom = scene.zoom[list(part.joints)]
    colour = tones[part.tone] * part.shade
    edge, mark = look.outline * part.shade, look.pattern_tone * part.shade
    if len(part.joints) > 2:
        _line(canvas, points, edge, 2 * part.start * zoom.mean() + 2 * look.outline_width * pixel)
        _line(canvas, points, colour, 2 * part.start * zoom.mean())
        _fill(canvas, points, colour)
        if look.pattern != "plain":
            inner = points.mean(axis=0) + 0.55 * (points - points.mean(axis=0))
            _fill(canvas, inner, 0.6 * colour + 0.4 * mark)
        return
    a, b = points
    ra, rb = max(1.4 * pixel, part.start * zoom[0]), max(1.2 * pixel, part.end * zoom[-1])
    outline = _limb(a, b, ra, rb, part.bulge * zoom.mean())
    _line(canvas, outline, edge, 2 * look.outline_width * pixel)
    _fill(canvas, outline, colour)
    if look.pattern == "plain" or np.hypot(*(b - a)) < 4 * pixel:
        return
    steps = np.array([0.3, 0.5, 0.7])[:, None]
    centres, radii = a + (b - a) * steps, (ra + (rb - ra) * steps[:, 0]) * 0.55
    soft = 0.45 * colour + 0.55 * mark
    if look.pattern == "stripe":
        _line(canvas, centres, soft, min(ra, rb) * 0.7, closed=False)
    elif look.pattern == "spots":
        for centre, radius in zip(centres, radii, strict=True):
            _fill(canvas, centre + CIRCLE * radius, soft)
    else:
        across = np.array([a[1] - b[1], b[0] - a[0]]) / np.hypot(*(b - a))
        for centre, radius in zip(centres, radii, strict=True):
            _line(canvas, np.stack([centre - across * radius, centre + across * radius]), soft, 1.5 * pixel, False)


def _marks(canvas: np.ndarray, shape: Shape, look: Look, tint: np.ndarray, scene: Scene, pixel: float) -> None:
    """A mark on each keypoint: ends, joints and branchings have their own colour; the far side's are darker."""
    shades = np.ones(len(shape.parent))
    for part in shape.parts:
        for joint in part.joints[1:]:
            shades[joint] = min(shades[joint], part.shade)
    degree = shape.graph.adjacency().sum(axis=1)
    for k, joint in enumerate(shape.keypoints):
        centre, zoom = scene.joints[joint], scene.zoom[joint]
        kind = min(int(degree[k]), 3) - 1
        radius = np.clip(shape.radius[joint] * zoom * look.mark_size, 2.2 * pixel, 4.2 * pixel)
        colour = look.marks[kind] * tint * shades[joint]
        form = look.end_mark if kind == 0 else look.joint_mark
        outline = CIRCLE * radius
        if form == "square":
            outline = radius * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        elif form == "spike":
            away = centre - scene.joints[shape.parent[joint]]
            away = away / max(float(np.hypot(*away)), 1e-6)
            across = np.array([-away[1], away[0]])
            outline = radius * np.stack([1.8 * away, across - 0.6 * away, -across - 0.6 * away])
        _fill(canvas, centre + outline, colour)
        _line(canvas, centre + outline, look.outline * shades[joint], look.outline_width * 0.7 * pixel)
        if form == "ring":
            _fill(canvas, centre + outline * 0.45, look.outline * shades[joint])


def _background(scene: Scene, body: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3): a soft texture of another brightness than the body, with shapes and sticks lying about."""
    width, height = scene.image_size
    base = rng.uniform(20, 235, 3)
    bright = base.mean()
    if abs(bright - body.mean()) < 50:
        base = base * 0.45 if body.mean() > 128 else 255 - (255 - base) * 0.45
    cells = int(rng.integers(2, 14))
    coarse = base + rng.normal(0, rng.uniform(5, 28), (cells, cells, 3)) + rng.normal(0, 12, (cells, cells, 1))
    canvas = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    canvas = np.clip(canvas, 0, 255).astype(np.uint8)
    side = max(width, height)
    for _ in range(int(rng.integers(2, 9))):
        centre = rng.uniform(0, 1, 2) * (width, height)
        colour = np.clip(base + rng.normal(0, 35, 3) + rng.normal(0, 30), 0, 255)
        kind = rng.random()
        if kind < 0.4:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            ends = np.stack([np.cos(angles), np.sin(angles)], axis=1)
            _fill(canvas, centre + rng.uniform(0.04, 0.2) * side * ends, colour)
        elif kind < 0.6:
            _fill(canvas, centre + CIRCLE * rng.uniform(0.02, 0.12) * side, colour)
        else:
            end = centre + rng.normal(0, 0.2, 2) * side
            thick = rng.uniform(0.01, 0.035, 2) * side
            outline = _limb(centre, end, thick[0], thick[1], 0.0)
            _fill(canvas, outline, colour)
            _line(canvas, outline, colour * 0.6, 1.0)
    return canvas


def _camera(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light that falls from one side, a little blur, noise."""
    height, width = canvas.shape[:2]
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (3, 3), float(rng.uniform(0.3, 0.9)))
    corners = rng.uniform(0.8, 1.15, (2, 2)).astype(np.float32)
    light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    noise = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(1, 8))
    return np.clip(canvas * light[..., None] + noise, 0, 255).astype(np.uint8)
