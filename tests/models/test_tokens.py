from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capetune.models.tokens import SPECIALS, CoordinateTable, Kind, bins, layout, tokenize

V = 16
BOS, COORD, SEP, EOS = V, V + 1, V + 2, V + 3
UNIT = st.floats(0, 1, width=32)
VOCABULARY = st.integers(2, 4096) | st.sampled_from([44 * 44, 44 * 44 - 1, 32 * 32, 8])  # the authors' <bos> was 44²


def ragged() -> tuple[torch.Tensor, torch.Tensor]:
    """Poses of 3 and 1 keypoints: (xy, joints)."""
    xy = torch.tensor([[[0.0, 1.0], [0.2, 0.4], [1.0, 0.0]], [[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]]])
    return xy, torch.tensor([[True, True, True], [True, False, False]])


def test_xy_layout_is_the_papers() -> None:
    xy, joints = ragged()
    tokens = tokenize("xy", V, xy, joints, joints)
    first = [COORD, 0, 15, SEP, COORD, 3, 6, SEP, COORD, 15, 0, SEP, EOS]
    assert tokens.ids[0, :, 0].tolist() == first
    assert tokens.ids[1, :5, 0].tolist() == [COORD, 9, 12, SEP, EOS]
    assert tokens.mask.tolist() == [[True] * 13, [True] * 5 + [False] * 8]


def test_point_layout_has_one_token_a_keypoint() -> None:
    xy, joints = ragged()
    tokens = tokenize("point", V, xy, joints, joints)
    assert tokens.ids[0].tolist() == [[0, 15], [3, 6], [15, 0], [EOS, EOS]]
    assert tokens.ids[1, :2].tolist() == [[9, 12], [EOS, EOS]]
    assert tokens.mask.tolist() == [[True] * 4, [True, True, False, False]]


@pytest.mark.parametrize("sequence", ["xy", "point"])
def test_each_real_coordinate_and_one_eos_count_in_the_losses(sequence: str) -> None:
    xy, joints = ragged()
    tokens = tokenize(sequence, V, xy, joints, joints)
    steps = 2 if sequence == "xy" else 1
    assert tokens.point_loss.sum(dim=1).tolist() == [3 * steps, steps]
    is_eos = (tokens.ids == EOS).all(dim=-1)
    assert (is_eos & tokens.token_loss).sum(dim=1).tolist() == [1, 1]
    assert torch.equal(tokens.token_loss, tokens.mask)


@pytest.mark.parametrize("sequence", ["xy", "point"])
def test_hidden_keypoints_leave_their_structure_and_nothing_else(sequence: str) -> None:
    xy, joints = ragged()
    visible = joints.clone()
    visible[0, 1] = False
    tokens = tokenize(sequence, V, xy, joints, visible)
    steps = layout(sequence, 3)
    of_hidden = (steps.keypoint == 1) & (steps.kind >= Kind.X)
    assert not tokens.token_loss[0, of_hidden].any()
    assert not tokens.point_loss[0, of_hidden].any()
    assert torch.equal(tokens.token_loss[0, ~of_hidden], torch.ones(int((~of_hidden).sum()), dtype=torch.bool))
    poisoned = tokenize(sequence, V, torch.where(visible.unsqueeze(-1), xy, torch.nan), joints, visible)
    assert torch.equal(poisoned.ids, tokens.ids)
    assert torch.equal(poisoned.xy, tokens.xy)


@pytest.mark.parametrize("sequence", ["xy", "point"])
def test_padding_marked_visible_is_still_padding(sequence: str) -> None:
    xy, joints = ragged()
    careless = tokenize(sequence, V, xy, joints, torch.ones_like(joints))
    careful = tokenize(sequence, V, xy, joints, joints)
    assert torch.equal(careless.token_loss, careful.token_loss)
    assert torch.equal(careless.point_loss, careful.point_loss)


def test_padding_before_a_keypoint_is_refused() -> None:
    xy, joints = ragged()
    with pytest.raises(ValueError, match="before the padding"):
        tokenize("point", V, xy, joints.flip(1), joints)


@pytest.mark.parametrize(("sequence", "cycle"), [("xy", 4), ("point", 1)])
@pytest.mark.parametrize("keypoints", [1, 2, 68])
def test_layout_length_and_entering_kinds(sequence: str, cycle: int, keypoints: int) -> None:
    steps = layout(sequence, keypoints)
    assert steps.kind.shape == steps.keypoint.shape == (cycle * keypoints + 1,)
    assert steps.kind[-1] == Kind.EOS
    assert steps.keypoint[-1] == keypoints
    assert steps.entering.tolist() == [Kind.BOS, *steps.kind[:-1].tolist()]


@given(VOCABULARY, st.lists(UNIT, min_size=1, max_size=20))
def test_coordinate_ids_never_reach_the_special_ones(vocabulary: int, values: list[float]) -> None:
    xy = torch.tensor([[[v, 1.0] for v in values]], dtype=torch.float32)
    joints = torch.ones(1, len(values), dtype=torch.bool)
    for sequence in ("xy", "point"):
        tokens = tokenize(sequence, vocabulary, xy, joints, joints)
        steps = layout(sequence, len(values))
        coordinates, special = steps.kind >= Kind.X, steps.kind < SPECIALS
        assert tokens.ids[:, coordinates].min() >= 0
        assert tokens.ids[:, coordinates].max() == vocabulary - 1  # y = 1
        assert torch.equal(tokens.ids[0, special, 0], vocabulary + steps.kind[special])
        assert tokens.ids.max() < vocabulary + SPECIALS


@given(VOCABULARY, UNIT)
def test_a_bin_is_at_most_half_a_bin_away(vocabulary: int, value: float) -> None:
    place = bins(torch.tensor(value), vocabulary).item() / (vocabulary - 1)
    assert abs(place - value) <= 0.5 / (vocabulary - 1) + 1e-6


@given(st.integers(2, 64))
def test_bins_of_bin_places_are_themselves(vocabulary: int) -> None:
    every = torch.arange(vocabulary)
    assert torch.equal(bins(every / (vocabulary - 1), vocabulary), every)


def test_bins_clamp() -> None:
    assert bins(torch.tensor([-0.5, 1.5]), V).tolist() == [0, V - 1]


def table(vocabulary: int) -> CoordinateTable:
    torch.manual_seed(0)
    return CoordinateTable(vocabulary, 8)


@given(st.integers(2, 300))
@settings(max_examples=25)
def test_table_is_exact_at_bins(vocabulary: int) -> None:
    places = table(vocabulary)
    every = torch.arange(vocabulary) / (vocabulary - 1)
    for axis in (0, 1):
        torch.testing.assert_close(places.axis(every, axis), places.table[axis], atol=1e-5, rtol=0)


@given(st.integers(2, 64), UNIT)
@settings(max_examples=50)
def test_table_is_convex_between_neighbouring_bins(vocabulary: int, value: float) -> None:
    places = table(vocabulary)
    low = min(int(value * (vocabulary - 1)), vocabulary - 2)
    share = value * (vocabulary - 1) - low
    assert -1e-4 <= share <= 1 + 1e-4
    wanted = (1 - share) * places.table[1, low] + share * places.table[1, low + 1]
    torch.testing.assert_close(places.axis(torch.tensor(value), 1), wanted, atol=1e-5, rtol=0)


def test_table_clamps_beyond_its_ends() -> None:
    places = table(V)
    torch.testing.assert_close(places.axis(torch.tensor([-3.0, 4.0]), 0), places.table[0, [0, -1]])


def test_table_is_differentiable_in_place_and_table() -> None:
    places = table(V)
    xy = torch.tensor([[0.33, 0.71]], requires_grad=True)
    places(xy)[0, 0].backward()
    slope = [(places.table[a, i + 1, 0] - places.table[a, i, 0]).item() * (V - 1) for a, i in ((0, 4), (1, 10))]
    torch.testing.assert_close(xy.grad, torch.tensor([slope]))
    assert places.table.grad[:, :, 0].count_nonzero() == 4


def test_axes_have_embeddings_of_their_own() -> None:
    places = table(V)
    assert not torch.allclose(places(torch.tensor([0.2, 0.7])), places(torch.tensor([0.7, 0.2])))


@pytest.mark.parametrize("sequence", ["xy", "point"])
def test_a_layout_is_made_once_and_serves_training_after_prediction(sequence: str) -> None:
    with torch.inference_mode():
        first = layout(sequence, 77)
    assert layout(sequence, 77, torch.device("cpu")) is first
    assert not first.kind.is_inference()
    kinds = list(zip(first.kind.tolist(), first.keypoint.tolist(), strict=True))
    assert [(int(kind), keypoint) for kind, keypoint in first.steps] == kinds
    assert all(first.steps[step] in ((Kind.X, i), (Kind.POINT, i)) for i, step in enumerate(first.x.tolist()))
    assert all(first.steps[step] in ((Kind.Y, i), (Kind.POINT, i)) for i, step in enumerate(first.y.tolist()))
