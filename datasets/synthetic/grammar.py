"""The bodies of procedural categories and the places on them where appendages grow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from capetune.datasets.synthetic.appendages import CRESTS, ENDS, LIMBS, MAX_KEYPOINTS, MIN_KEYPOINTS, grow_until
from capetune.datasets.synthetic.shapes import FAR, Member, Part, Shape, Site, Sketch

UP, DOWN, RIGHT, LEFT = -math.pi / 2, math.pi / 2, 0.0, math.pi


@dataclass(frozen=True)
class Body:
    """write: draws the body into a sketch and returns its sites, most important first. yaw, pitch: ranges in degrees
    of the category's mean turn out of the plane. mirrors: its two directions can be told apart when flipped."""

    family: str
    write: Callable[[Sketch], list[Site]]
    weight: float
    yaw: tuple[float, float] = (-12, 12)
    pitch: tuple[float, float] = (-12, 12)
    mirrors: bool = False


def spine(sketch: Sketch, count: int, heading: float) -> list[int]:
    """A chain of `count` keypoints from tail to head, with the body's flesh on it."""
    length = sketch.uniform(0.65, 1.15) / (count - 1)
    curve, thick = sketch.uniform(-0.3, 0.3), sketch.uniform(0.07, 0.2)
    widths = thick * np.exp(sketch.rng.normal(0, 0.25, count))
    chain = [sketch.joint("body1", heading=heading)]
    for i in range(1, count):
        heading += curve
        chain.append(
            sketch.joint(
                f"body{i + 1}", chain[-1], length * sketch.uniform(0.7, 1.3), heading, sketch.uniform(0.04, 0.22)
            )
        )
    for i, (a, b) in enumerate(itertools.pairwise(chain)):
        sketch.bar(a, b, float(widths[i]), float(widths[i + 1]), bulge=max(0.0, sketch.uniform(-0.04, 0.08)))
    return chain


def pair_in_depth(sketch: Sketch, joint: int, heading: float) -> tuple[Member, Member]:
    """A near and a far place on the same joint, near first; the far one leans forward, so that poses show which is."""
    apart, lean = sketch.uniform(0.08, 0.2), sketch.uniform(0.15, 0.45)
    return (
        Member(joint, heading + lean, depth=-apart, layer=2),
        Member(joint, heading - lean, depth=apart, shade=FAR, layer=-2),
    )


def pair_across(joint: int, axis: float, angle: float, layer: int) -> tuple[Member, Member]:
    """A left and a right place, mirrored about the body's axis."""
    return (
        Member(joint, axis - angle, side=-1, layer=layer),
        Member(joint, axis + angle, side=1, shade=0.84, layer=layer),
    )


def from_the_side(sketch: Sketch) -> list[Site]:
    """Quadrupeds, birds, fish, serpents: a level spine, head in front, pairs of limbs below, crests above."""
    chain = spine(sketch, int(sketch.rng.integers(2, 5)), sketch.uniform(-0.35, 0.2))
    tail, head = chain[0], chain[-1]
    front = sketch.headings[head]
    first = [Site("head", (Member(head, front + sketch.uniform(-0.9, 0.2), layer=1),), ENDS)]
    legs = [
        Site("fore", pair_in_depth(sketch, head, DOWN), LIMBS),
        Site("hind", pair_in_depth(sketch, tail, DOWN), LIMBS),
    ]
    back = Site("tail", (Member(tail, LEFT + sketch.uniform(-0.6, 0.6)),), ("limb1", "limb2", "limb3", "fork", "fin"))
    rest = [
        back,
        *(Site(f"crest{i}", (Member(j, UP + sketch.uniform(-0.4, 0.4)),), CRESTS) for i, j in enumerate(chain)),
    ]
    rest += [Site(f"belly{i}", (Member(j, DOWN),), ("limb2", "fin", "limb1")) for i, j in enumerate(chain[1:-1])]
    legs = legs[: int(sketch.rng.integers(0, 3))]
    sketch.rng.shuffle(rest)  # type: ignore[arg-type]
    return first + legs + rest


def from_above(sketch: Sketch) -> list[Site]:
    """Insects, lizards, people, plants: an upright spine with mirrored pairs, or with alternate branches."""
    chain = spine(sketch, int(sketch.rng.integers(2, 5)), UP + sketch.uniform(-0.2, 0.2))
    branches = sketch.rng.random() < 0.25
    layer = int(sketch.rng.choice([-1, 1]))
    head, tail = chain[-1], chain[0]
    crown = Site("head", (Member(head, sketch.headings[head], layer=1),), ("knob", "limb1", "fin", "loop"))
    sites = []
    for i, joint in enumerate(reversed(chain)):
        axis, angle = sketch.headings[joint], sketch.uniform(0.9, 2.1)
        if branches:
            place = pair_across(joint, axis, sketch.uniform(0.5, 1.2), layer)[(i + len(chain)) % 2]
            sites.append(Site(f"branch{i + 1}", (place,), (*LIMBS, "fin", "sail", "loop")))
        else:
            sites.append(Site(f"side{i + 1}", pair_across(joint, axis, angle, layer), (*LIMBS, "fin", "sail")))
    feelers = Site(
        "feeler", pair_across(head, sketch.headings[head], sketch.uniform(0.35, 0.7), -1), ("limb1", "limb2")
    )
    back = Site("tail", (Member(tail, sketch.headings[tail] + math.pi),), ("limb1", "limb2", "fin", "fork", "limb3"))
    extra = [crown, back, feelers]
    sketch.rng.shuffle(extra)  # type: ignore[arg-type]
    return [extra[0], *sites[:2], *extra[1:], *sites[2:]]


def ring(sketch: Sketch) -> list[Site]:
    """Faces, leaves, frames: a loop around a hidden middle, with features inside or appendages outside."""
    count = int(sketch.rng.integers(4, 9))
    wide, tall = sketch.uniform(0.4, 0.75), sketch.uniform(0.4, 0.75)
    filled, thick = sketch.rng.random() < 0.7, sketch.uniform(0.04, 0.08)
    middle = sketch.joint(None)
    phase = sketch.uniform(-0.25, 0.25)
    headings = [UP + phase + 2 * math.pi * (i + sketch.uniform(-0.15, 0.15)) / count for i in range(count)]
    bumps = np.exp(sketch.rng.normal(0, 0.16, count))
    vertices = [
        sketch.joint(
            f"rim{i + 1}", middle, float(math.hypot(wide * math.cos(h), tall * math.sin(h)) * bumps[i]), h, 0.06
        )
        for i, h in enumerate(headings)
    ]
    if filled:
        sketch.parts.append(Part(tuple(vertices), thick, thick))
    for a, b in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        sketch.bar(a, b, thick, tone=0 if filled else 1, shade=0.85 if filled else 1.0)
    if filled and sketch.rng.random() < 0.6:
        features(sketch, middle, vertices[0], 0.65 * min(wide, tall))
    kinds = ("limb1", "limb2", "fin", "loop", "knob", "fork", "sail", "limb3")
    order = sketch.rng.permutation(count)
    return [Site(f"arm{i + 1}", (Member(vertices[i], headings[i]),), kinds) for i in order]


def features(sketch: Sketch, middle: int, top: int, reach: float) -> None:
    """Two eyes, and perhaps a nose and a mouth, inside a ring."""
    looks = {"tone": 2, "layer": 1}
    apart, up = sketch.uniform(0.6, 1.0), sketch.uniform(0.1, 0.5)
    left = sketch.joint("eye_a", middle, reach * math.hypot(apart, up), math.atan2(-up, -apart), 0.05)
    right = sketch.joint("eye_b", middle, reach * math.hypot(apart, up), math.atan2(-up, apart), 0.05)
    nose = sketch.joint("nose", middle, reach * sketch.uniform(0.2, 0.6), DOWN, 0.2)
    sketch.bar(left, nose, 0.03, 0.04, **looks)
    sketch.bar(right, nose, 0.03, 0.04, **looks)
    sketch.link(top, nose)
    if sketch.rng.random() < 0.6:
        mouth = [
            sketch.joint(f"mouth_{n}", nose, reach * sketch.uniform(0.6, 0.9), DOWN + turn, 0.15)
            for n, turn in (("a", 0.7), ("b", -0.7))
        ]
        sketch.bar(mouth[0], mouth[1], 0.035, **looks)
        sketch.link(nose, mouth[0])
        sketch.link(nose, mouth[1])


def hub(sketch: Sketch) -> list[Site]:
    """Stars, hands, fans: arms of unlike kinds and lengths around one keypoint."""
    count = int(sketch.rng.integers(3, 7))
    middle = sketch.joint("hub")
    span = 2 * math.pi * (count - 1) / count if sketch.rng.random() < 0.6 else sketch.uniform(1.8, 3.4)
    start, thick = UP + sketch.uniform(-0.3, 0.3) - span / 2, sketch.uniform(0.1, 0.22)
    sketch.parts.append(Part((middle, middle), thick, thick, layer=1))
    kinds: tuple[str, ...] = ("limb2", "limb3", "limb3", "fork", "loop", "sail", "limb1")
    if sketch.rng.random() < 0.4:  # hands and starfish: the same kind everywhere, lengths and thickness still differ
        kinds = (str(sketch.rng.choice(["limb2", "limb3"])),)
    headings = [start + span * (i + sketch.uniform(-0.2, 0.2)) / (count - 1) for i in range(count)]
    arms = [Site(f"arm{i + 1}", (Member(middle, h),), kinds) for i, h in enumerate(headings)]
    return [arms[i] for i in sketch.rng.permutation(count)]


def lattice(sketch: Sketch) -> list[Site]:
    """Ladders, gates, trusses: two rows of keypoints, rails and rungs, perhaps a diagonal or filled cells."""
    rows = int(sketch.rng.integers(2, 5))
    axis = UP if sketch.rng.random() < 0.5 else RIGHT
    step, half = sketch.uniform(0.8, 1.3) / (rows - 1), sketch.uniform(0.24, 0.46)
    taper, thick = sketch.uniform(0.6, 1.3), sketch.uniform(0.035, 0.07)
    filled = sketch.rng.random() < 0.4
    middle, before = sketch.joint(None, heading=axis), None
    ends: list[tuple[int, int]] = []
    for i in range(rows):
        if i:
            middle = sketch.joint(None, middle, step * sketch.uniform(0.8, 1.2), axis, 0.12)
        wide = half * taper**i
        a = sketch.joint(f"left{i + 1}", middle, wide, axis - math.pi / 2, 0.05)
        b = sketch.joint(f"right{i + 1}", middle, wide, axis + math.pi / 2, 0.05)
        sketch.bar(a, b, thick, tone=1, layer=1)
        if before is not None:
            if filled:
                sketch.parts.append(Part((*before, b, a), thick, thick))
            sketch.bar(before[0], a, thick * 1.2, layer=1)
            sketch.bar(before[1], b, thick * 1.2, shade=0.84, layer=1)
            if sketch.rng.random() < 0.25:
                sketch.bar(before[0], b, thick * 0.7, tone=2)
        before = (a, b)
        ends.append(before)
    low, high = ends[0], ends[-1]
    back, turn = axis + math.pi, sketch.uniform(-0.2, 0.5)
    feet = (Member(low[0], back + turn, side=-1), Member(low[1], back - turn, side=1, shade=0.84))
    horns = (Member(high[0], axis - turn, side=-1), Member(high[1], axis + turn, side=1, shade=0.84))
    lone = [Member(high[0], axis - 0.3), Member(low[1], axis + 2.2), Member(ends[rows // 2][1], axis + math.pi / 2)]
    sites = [Site("foot", feet, LIMBS), Site("horn", horns, (*LIMBS, "fin"))]
    singles = [Site(f"arm{i + 1}", (m,), (*LIMBS, "loop", "fin")) for i, m in enumerate(lone)]
    both = [*sites, *singles[1:]] if sketch.rng.random() < 0.6 else [*singles, sites[0]]
    return [both[i] for i in sketch.rng.permutation(len(both))]


def box(sketch: Sketch) -> list[Site]:
    """Chairs, tables, carts: a quadrilateral lying in space, legs below its corners, a back or posts above."""
    wide, deep, thick = sketch.uniform(0.35, 0.6), sketch.uniform(0.25, 0.5), sketch.uniform(0.035, 0.07)
    middle = sketch.joint(None)
    corners, places = [], [("a", LEFT, -1), ("b", RIGHT, -1), ("c", RIGHT, 1), ("d", LEFT, 1)]
    for name, heading, far in places:
        corners.append(sketch.joint(f"seat_{name}", middle, wide, heading, 0.04, depth=far * deep))
    sketch.parts.append(Part(tuple(corners), thick, thick))
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        sketch.bar(a, b, thick, shade=0.85)
    shades = (1.0, 1.0, FAR, FAR)
    splay = sketch.uniform(-0.1, 0.3)
    legs = tuple(
        Member(j, DOWN + (splay if h == LEFT else -splay), side=1, shade=s, layer=1 if s == 1.0 else -1)
        for j, (_, h, _), s in zip(corners, places, shades, strict=True)
    )
    if sketch.rng.random() < 0.75:
        at = (2, 3) if sketch.rng.random() < 0.6 else (0, 3)  # a back rest, or an arm rest at one end
        tall, lean = sketch.uniform(0.4, 0.9), sketch.uniform(-0.25, 0.25)
        tops = [sketch.joint(f"back_{i}", corners[c], tall, UP + lean, 0.12) for i, c in zip("ab", at, strict=True)]
        if sketch.rng.random() < 0.6:
            sketch.parts.append(Part((corners[at[0]], *tops, corners[at[1]]), thick, thick, tone=2, layer=-1))
        for top, c in zip(tops, at, strict=True):
            sketch.bar(corners[c], top, thick, tone=1)
        sketch.bar(tops[0], tops[1], thick, tone=1)
    post = int(sketch.rng.integers(4))
    extra = Site("post", (Member(corners[post], UP + sketch.uniform(-0.3, 0.3)),), ("limb1", "limb2", "knob", "fork"))
    handle = Site("handle", (Member(corners[1], RIGHT),), ("limb1", "limb2", "loop", "knob"))
    return [Site("leg", legs, ("limb1", "limb1", "limb2")), extra, handle]


BODIES = (
    Body("walker", from_the_side, 0.22, yaw=(10, 30), pitch=(0, 20), mirrors=True),
    Body("crawler", from_above, 0.18),
    Body("ring", ring, 0.2),
    Body("star", hub, 0.12),
    Body("ladder", lattice, 0.16),
    Body("furniture", box, 0.12, yaw=(18, 42), pitch=(18, 38), mirrors=True),
)


def shape(rng: np.random.Generator) -> Shape:
    """Draw one category's geometry. K lies in MIN_KEYPOINTS…MAX_KEYPOINTS; the graph is connected."""
    sketch = Sketch(rng, limber=float(rng.uniform(0.6, 1.3)), fins=bool(rng.random() < 0.6))
    body = BODIES[int(rng.choice(len(BODIES), p=[b.weight for b in BODIES]))]
    sites = body.write(sketch)
    grow_until(sketch, sites, int(rng.integers(MIN_KEYPOINTS, MAX_KEYPOINTS + 1)))
    degrees = math.pi / 180
    return sketch.finish(
        family=body.family,
        rotation=sketch.uniform(26, 66) * degrees,
        yaw=(sketch.uniform(*body.yaw) * degrees, sketch.uniform(5, 16) * degrees),
        pitch=(sketch.uniform(*body.pitch) * degrees, sketch.uniform(4, 12) * degrees),
        mirror=sketch.uniform(0.15, 0.35) if body.mirrors else 0.0,
    )
