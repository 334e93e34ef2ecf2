"""Which keypoint takes which one's place when a picture is mirrored, read off the names."""

from __future__ import annotations

import re
from functools import cache

from capetune.pose import PoseGraph

# left_eye, right eye, l_knee; and eyeL, forelegR2.
WORD = re.compile(r"(?<![a-z])(left|right|[lr](?=[ _.-]))", re.IGNORECASE)
SUFFIX = re.compile(r"(?<=[a-z])([LR])(?![a-z])")
OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


@cache
def mirrored(graph: PoseGraph) -> tuple[int, ...] | None:
    """The order of keypoints in a mirror: keypoint i of the mirrored picture is keypoint order[i] of the plain one.

    None where the names don't tell: no keypoint has a side, one lacks its counterpart, two names are alike, or the
    edges would change, so that some keypoint has a side which its name hides.
    """
    place = {name: i for i, name in enumerate(graph.names)}
    names = [_other_side(name) for name in graph.names]
    if len(place) < graph.size or names == list(graph.names) or not set(names) <= set(place):
        return None
    order = tuple(place[name] for name in names)
    edges = {tuple(sorted((order[i], order[j]))) for i, j in graph.edges}
    return order if edges == set(graph.edges) and sorted(order) == list(range(graph.size)) else None


def _other_side(name: str) -> str:
    if WORD.search(name):
        return WORD.sub(_exchange, name, count=1)
    return SUFFIX.sub(_exchange, name, count=1)


def _exchange(match: re.Match[str]) -> str:
    side = match.group(1)
    other = OTHER[side.lower()]
    if side.isupper():
        return other.upper()
    return other.capitalize() if side[0].isupper() else other
