"""Procedural categories: a random grammar writes a body, grows appendages on it, and gives it joints that move.

A category is a tree of joints. Most joints are keypoints, some are hidden pivots (the middle of a ring, the root of a
fin). Loops of the pose graph come from edges between joints that move together. Lengths are in units of about one body;
x points right, y down, depth away from the viewer; angles are radians, clockwise on the screen.

The grammar has bodies (spines seen from the side or from above, rings, hubs, lattices, boxes in space) and appendages
(limbs, forks, fins, sails, loops, knobs), and draws all numbers afresh for each category, so that a thousand categories
cover a space and unseen ones lie between them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capetune.pose import PoseGraph

FAR = 0.68  # brightness of parts on the far side; the same everywhere, so that a model can learn what it means


@dataclass(frozen=True)
class Part:
    """Something to fill. joints: two for a limb, three or more for a plate (the polygon through them).

    start, end: a limb's radius at either joint; a plate is rounded by `start`. bulge: added radius halfway. tone: which
    colour of the category (0 body, 1 limbs, 2 appendages). shade: brightness factor. layer: drawn from low to high.
    """

    joints: tuple[int, ...]
    start: float
    end: float
    bulge: float = 0.0
    tone: int = 0
    shade: float = 1.0
    layer: int = 0


@dataclass(frozen=True, eq=False)
class Shape:
    """A category's geometry. J joints, the first is the root; parents come before children.

    family: the kind of body it grew from.
    parent: int (J), -1 for the root. length, angle: float (J), the rest pose relative to the parent's direction.
    swing: float (J), standard deviation of the angle. stretch: float (J), of the length's logarithm. depth: float (J),
    relative to the parent. radius: float (J), half the thickness of what is drawn there. keypoints: int (K), the joints
    that are keypoints, in the order of `graph`. rotation: largest turn in the image plane, either way. yaw,
    pitch: (mean, deviation) of the turn out of it. mirror: how often the object looks the other way; 0 for shapes whose
    two sides look alike, since nothing in the image would tell them apart.
    """

    family: str
    graph: PoseGraph
    parent: np.ndarray
    length: np.ndarray
    angle: np.ndarray
    swing: np.ndarray
    stretch: np.ndarray
    depth: np.ndarray
    radius: np.ndarray
    keypoints: np.ndarray
    parts: tuple[Part, ...]
    rotation: float
    yaw: tuple[float, float]
    pitch: tuple[float, float]
    mirror: float


@dataclass(frozen=True)
class Member:
    """One place an appendage grows from: joint, direction at rest, which way bends go (±1), depth, shade, layer."""

    joint: int
    heading: float
    side: int = 1
    depth: float = 0.0
    shade: float = 1.0
    layer: int = -1


@dataclass(frozen=True)
class Site:
    """Places that get the same appendage (one, a pair, four legs). kinds: which appendages suit."""

    name: str
    members: tuple[Member, ...]
    kinds: tuple[str, ...]


@dataclass
class Sketch:
    """A category while it is being drawn up. limber: factor on all swings. fins: appendages may be loops; without
    them a spine or a hub grows into a tree."""

    rng: np.random.Generator
    limber: float
    fins: bool
    names: list[str | None] = field(default_factory=list)
    rows: list[tuple[int, float, float, float, float, float]] = field(default_factory=list)
    headings: list[float] = field(default_factory=list)
    edges: set[tuple[int, int]] = field(default_factory=set)
    parts: list[Part] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Keypoints so far."""
        return sum(name is not None for name in self.names)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def joint(
        self,
        name: str | None,
        parent: int = -1,
        length: float = 0.0,
        heading: float = 0.0,
        swing: float = 0.05,
        depth: float = 0.0,
        stretch: float = 0.06,
    ) -> int:
        """Add a joint whose direction at rest is `heading`; name None makes it a hidden pivot. Returns its index."""
        before = self.headings[parent] if parent >= 0 else 0.0
        self.rows.append((parent, length, heading - before, swing * self.limber, stretch, depth))
        self.headings.append(heading)
        self.names.append(name)
        return len(self.names) - 1

    def link(self, *joints: int) -> None:
        """Edges along a chain of joints."""
        for a, b in itertools.pairwise(joints):
            self.edges.add((min(a, b), max(a, b)))

    def bar(self, a: int, b: int, start: float, end: float | None = None, **looks: Any) -> None:
        """A limb between two keypoints, with its edge."""
        self.link(a, b)
        self.parts.append(Part((a, b), start, start if end is None else end, **looks))

    def finish(
        self, family: str, rotation: float, yaw: tuple[float, float], pitch: tuple[float, float], mirror: float
    ) -> Shape:
        table = np.array([row[1:] for row in self.rows])
        radius = np.full(len(self.rows), 0.02)
        for part in self.parts:
            for joint, r in zip(part.joints, (part.start, part.end, *[part.start] * len(part.joints)), strict=False):
                radius[joint] = max(radius[joint], r)
        keypoints = [j for j, name in enumerate(self.names) if name is not None]
        order = {joint: k for k, joint in enumerate(keypoints)}
        edges = sorted((order[a], order[b]) for a, b in self.edges)
        return Shape(
            family=family,
            graph=PoseGraph(tuple(str(self.names[j]) for j in keypoints), tuple(edges)),
            parent=np.array([row[0] for row in self.rows]),
            length=table[:, 0],
            angle=table[:, 1],
            swing=table[:, 2],
            stretch=table[:, 3],
            depth=table[:, 4],
            radius=radius,
            keypoints=np.array(keypoints),
            parts=tuple(self.parts),
            rotation=rotation,
            yaw=yaw,
            pitch=pitch,
            mirror=mirror,
        )
