from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capetune.datasets.mp100.parts import EPISODE, advice, by_categories, by_pictures, enough_categories, picture
from capetune.errors import UserError
from capetune.pose import PARTS


def names(number, of="frame"):
    return [f"{of}-{i:04}.jpg" for i in range(number)]


def sizes(part_of):
    return tuple(list(part_of.values()).count(part) for part in PARTS)


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(3, (1, 1, 1)), (6, (2, 2, 2)), (20, (10, 4, 6)), (60, (30, 12, 18)), (80, (40, 16, 24)), (400, (240, 40, 120))],
)
def test_what_validates_can_hold_an_episode_where_there_is_room(number, wanted):
    assert sizes(by_pictures({1: names(number)})) == wanted


def test_the_first_train_the_last_test():
    parts = [part for _, part in sorted(by_pictures({1: names(40)}).items())]
    assert parts == sorted(parts, key=PARTS.index)


def test_a_picture_of_two_categories_is_in_one_part():
    """The second category's own pictures make up for those that the first has placed."""
    shared, own = names(20), names(20, "own")
    part_of = by_pictures({1: shared, 2: [*shared[10:], *own]})
    assert sizes({name: part_of[name] for name in shared}) == (10, 4, 6)
    assert sizes({name: part_of[name] for name in (*shared[10:], *own)}) == sizes(by_pictures({1: names(30)}))


@given(
    st.dictionaries(st.integers(), st.sets(st.sampled_from(names(60)), min_size=1), min_size=1),
    st.floats(0.01, 0.99),
    st.none() | st.floats(0, 1),
)
def test_whatever_is_shared_each_picture_has_a_part(pictures, train, share):
    val = None if share is None else share * train * 0.99
    part_of = by_pictures(pictures, train, val)
    assert part_of.keys() == set().union(*pictures.values())
    assert set(part_of.values()) <= set(PARTS)
    assert val != 0 or len(pictures) > 1 or "val" not in part_of.values()


def test_spellings_of_one_path_are_one_picture():
    assert {picture("a/b.jpg"), picture("a//b.jpg"), picture("./a/b.jpg")} == {"a/b.jpg"}


def test_categories_are_split_as_mp100_s_and_each_episode_fits():
    counts = dict(zip(range(50), count(EPISODE - 10), strict=False))
    part_of = by_categories(counts, "--by frames")
    assert sizes(part_of) == (35, 5, 10)
    assert all(counts[id] >= EPISODE for id, part in part_of.items() if part != "train")
    assert by_categories(dict(reversed(counts.items())), "--by frames") == part_of


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [([16] * 10, True), ([16] * 9, False), ([16] * 3 + [2] * 7, True), ([16] * 2 + [15] * 8, False), ([], False)],
)
def test_ten_categories_of_which_three_hold_an_episode_are_enough(counts, wanted):
    assert enough_categories(dict(enumerate(counts))) is wanted


def test_too_few_that_hold_an_episode_are_refused():
    with pytest.raises(UserError, match=r"needs 1 to test and 1 to validate with the 16 instances .*; of 3 here 1 can"):
        by_categories({1: 16, 2: 15, 3: 15}, "--by frames")


@pytest.mark.parametrize(("largest", "queries"), [(16, None), (15, 14), (2, 1), (1, None)])
def test_what_has_to_be_set_is_said_where_an_official_episode_does_not_fit(largest, queries):
    told = advice([1, largest])
    assert (told is None) == (queries is None)
    assert told is None or told.endswith(f"--set validation.queries={queries}")
