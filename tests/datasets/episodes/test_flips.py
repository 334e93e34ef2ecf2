from __future__ import annotations

import pytest

from capetune.datasets.episodes.flips import mirrored
from capetune.pose import PoseGraph


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("nose", "left_eye", "right_eye"), (0, 2, 1)),
        (("left eye", "beak", "right eye"), (2, 1, 0)),
        (("Left Ear", "Right Ear"), (1, 0)),
        (("eyeL", "eyeR", "neck"), (1, 0, 2)),
        (("forelegR1", "forelegR2", "forelegL1", "forelegL2"), (2, 3, 0, 1)),
        (("l_knee", "r_knee"), (1, 0)),
        (("L-wing", "R-wing"), (1, 0)),
    ],
)
def test_left_and_right_change_places(names: tuple[str, ...], order: tuple[int, ...]) -> None:
    assert mirrored(PoseGraph(names, ())) == order


@pytest.mark.parametrize(
    "names",
    [
        ("0", "1", "2"),
        ("nose", "tail"),
        ("left_eye", "nose"),  # no right one
        ("left_eye", "right_eye", "right_eye"),
        ("upper_lip", "lower_lip"),
        ("cleft", "bright"),  # words that only end like sides
        ("VL", "VR"),
    ],
)
def test_names_that_do_not_tell_are_left_alone(names: tuple[str, ...]) -> None:
    assert mirrored(PoseGraph(names, ())) is None


def test_a_side_hidden_in_the_edges_is_noticed() -> None:
    """Foot a hangs on the left rail alone: a mirror would have to exchange it with foot b, which the names hide."""
    names = ("left", "right", "foot_a", "foot_b")
    assert mirrored(PoseGraph(names, ((0, 1), (0, 2), (1, 3)))) is None
    assert mirrored(PoseGraph(names, ((0, 1),))) == (1, 0, 2, 3)
