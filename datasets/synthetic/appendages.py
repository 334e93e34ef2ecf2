"""What grows on the bodies of procedural categories: limbs, forks, fins, sails, loops and knobs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from capetune.datasets.synthetic.shapes import Member, Part, Site, Sketch

MIN_KEYPOINTS, MAX_KEYPOINTS = 8, 20
COST = {"knob": 1, "limb1": 1, "limb2": 2, "fin": 2, "limb3": 3, "fork": 3, "sail": 3, "loop": 3}
CLOSED = {"fin", "sail", "loop"}
LIMBS = ("limb1", "limb2", "limb2", "limb3", "fork")
ENDS = ("knob", "limb2", "limb3", "fork", "fin", "loop", "sail")
CRESTS = ("fin", "sail", "limb1", "knob", "loop")


@dataclass(frozen=True)
class Appendage:
    """What grows: drawn once a site, so that the members of a pair look alike. lengths, bends: one a segment."""

    kind: str
    lengths: tuple[float, ...]
    bends: tuple[float, ...]
    spread: float
    thick: float
    taper: float
    bulge: float
    swing: float
    tone: int


def draw_appendage(sketch: Sketch, kinds: tuple[str, ...], budget: int) -> Appendage | None:
    """One of the kinds that costs at most `budget` keypoints; None where none does."""
    fitting = [kind for kind in kinds if COST[kind] <= budget and (sketch.fins or kind not in CLOSED)]
    if not fitting:
        return None
    kind = fitting[int(sketch.rng.integers(len(fitting)))]
    reach = sketch.uniform(0.3, 0.66)
    bend = sketch.uniform(-0.9, 0.9)
    return Appendage(
        kind=kind,
        lengths=tuple(reach * sketch.uniform(0.75, 1.2) * (1.0, 0.9, 0.75)[i] for i in range(3)),
        bends=(0.0, bend, -bend * sketch.uniform(0.2, 1.2)),
        spread=sketch.uniform(0.35, 0.7),
        thick=sketch.uniform(0.045, 0.1),
        taper=sketch.uniform(0.5, 0.95),
        bulge=max(0.0, sketch.uniform(-0.05, 0.05)),
        swing=sketch.uniform(0.18, 0.45),
        tone=int(sketch.rng.integers(1, 3)),
    )


def grow(sketch: Sketch, name: str, place: Member, what: Appendage) -> Member:
    """Draw one appendage. Returns its end as a place where more can grow."""
    looks: dict[str, Any] = {"tone": what.tone, "shade": place.shade, "layer": place.layer}
    scale = math.exp(sketch.uniform(-0.1, 0.1))  # no two sides of an object are quite the same
    side, lengths = place.side, [length * scale for length in what.lengths]
    if what.kind == "knob" or what.kind.startswith("limb"):
        count = 1 if what.kind == "knob" else int(what.kind[-1])
        joint, heading, thick = place.joint, place.heading, what.thick
        for i in range(count):
            heading += side * what.bends[i]
            after = sketch.joint(
                f"{name}{i + 1}", joint, lengths[i], heading, what.swing * (1 + 0.3 * i), place.depth if i == 0 else 0.0
            )
            if what.kind == "knob":
                sketch.bar(joint, after, thick * 0.8, thick * 2.2, **looks)
            else:
                sketch.bar(joint, after, thick, thick * what.taper, bulge=what.bulge, **looks)
            joint, thick = after, thick * what.taper
        return replace(place, joint=joint, heading=heading, depth=0.0)
    if what.kind == "fork":
        stem = sketch.joint(f"{name}1", place.joint, lengths[0], place.heading, what.swing, place.depth)
        sketch.bar(place.joint, stem, what.thick, what.thick * what.taper, bulge=what.bulge, **looks)
        for i, turn in ((2, -what.spread), (3, what.spread * 1.2)):
            heading = place.heading + side * turn
            tip = sketch.joint(f"{name}{i}", stem, lengths[1] * (0.6 + 0.25 * (i == 3)), heading, what.swing)
            sketch.bar(stem, tip, what.thick * what.taper, what.thick * what.taper**2, **looks)
        return replace(place, joint=tip, heading=heading, depth=0.0)
    # Fins, sails and loops keep their form: their corners hang on one hidden pivot that swings.
    pivot = sketch.joint(None, place.joint, 0.0, place.heading, what.swing, place.depth)
    turns = (-what.spread, what.spread) if what.kind == "fin" else (-what.spread, 0.0, what.spread)
    reach = (1.0, 0.75) if what.kind == "fin" else (0.7, 1.2, 0.55)
    corners = [
        sketch.joint(f"{name}{i + 1}", pivot, lengths[0] * reach[i], place.heading + side * turn, 0.06)
        for i, turn in enumerate(turns)
    ]
    ring = (place.joint, *corners)
    sketch.link(*ring, place.joint)
    if what.kind == "loop":
        around = zip(ring, (*corners, place.joint), strict=True)
        sketch.parts += [Part((a, b), what.thick * 0.7, what.thick * 0.7, **looks) for a, b in around]
    else:
        sketch.parts.append(Part(ring, what.thick * 0.6, what.thick * 0.6, **looks))
    return replace(place, joint=corners[len(corners) // 2], depth=0.0)


def grow_until(sketch: Sketch, sites: list[Site], size: int) -> None:
    """Fill sites in order until the sketch has about `size` keypoints: never over it, never under MIN_KEYPOINTS."""
    assert sketch.size <= MAX_KEYPOINTS
    sites = list(sites)
    assert sites
    size = max(size, MIN_KEYPOINTS)
    while sites and sketch.size < size:
        site = sites.pop(0)
        what = draw_appendage(sketch, site.kinds, (size - sketch.size) // len(site.members))
        if what is None:
            continue
        ends = [
            grow(sketch, f"{site.name}{'_' if len(site.members) == 1 else f'_{chr(97 + i)}'}", member, what)
            for i, member in enumerate(site.members)
        ]
        if what.kind in ("knob", "limb1", "limb2"):
            turned = tuple(replace(end, heading=end.heading + end.side * 0.4) for end in ends)
            sites.append(Site(f"{site.name}_tip", turned, ("limb1", "knob", "fin", "limb2")))
        if not sites:  # sites that took nothing since a pair was too dear
            sites.append(Site(f"spike{sketch.size}", (ends[0],), ("limb1",)))
    while sketch.size < MIN_KEYPOINTS:  # every site was a group dearer than what was left
        last = len(sketch.names) - 1
        spare = draw_appendage(sketch, ("limb1",), 1)
        assert spare is not None
        grow(sketch, f"spike{sketch.size}_", Member(last, sketch.headings[last] + 0.3), spare)
