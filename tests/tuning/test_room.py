from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from capetune.tuning.preflight import Plan
from capetune.tuning.room import Room, Seen

COUNT = st.integers(0, 100)
SEEN = st.builds(Seen, COUNT, st.lists(COUNT, max_size=5).map(tuple), st.booleans(), COUNT)


def test_alone_a_run_has_every_place_and_one_trial_in_the_queue():
    assert Seen(mine=0, others=(), waiting=False, free=4).most() == 5
    assert Seen(mine=4, others=(), waiting=False, free=0).most() == 5


def test_machines_that_come_and_go_are_followed():
    assert Seen(mine=4, others=(), waiting=False, free=8).most() == 13
    assert Seen(mine=1, others=(), waiting=False, free=0).most() == 2


def test_a_run_that_comes_later_waits_for_its_share_and_the_first_keeps_its_own():
    first, second = Seen(4, (0,), True, 0), Seen(0, (4,), True, 0)
    assert (first.most(), second.most()) == (2, 2)


def test_runs_take_turns_where_a_place_is_left_over_or_there_are_fewer_than_runs():
    assert Seen(mine=1, others=(0,), waiting=True, free=0).over
    assert not Seen(mine=0, others=(1,), waiting=True, free=0).over
    assert Seen(mine=2, others=(1,), waiting=True, free=0).over
    assert not Seen(mine=2, others=(2,), waiting=True, free=0).over
    assert not Seen(mine=2, others=(0,), waiting=False, free=0).over


def test_who_gives_a_place_up_begins_nothing_until_the_other_could_take_it(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    room = Room(Plan(3, 1, 1, "cpu"), ours=True)
    room.ended()
    assert not room.giving
    room.over = True
    room.ended()
    assert room.giving
    now[0] += 7
    assert not room.giving


def test_places_that_the_others_do_not_want_are_taken():
    assert Seen(mine=2, others=(1,), waiting=False, free=1).most() == 4


@given(SEEN)
def test_nobody_starves_and_nothing_stands_empty(seen):
    places = seen.mine + sum(seen.others) + seen.free
    assert seen.most() >= 1
    assert seen.most() * (1 + len(seen.others)) >= places
    assert seen.waiting or seen.most() > seen.mine + seen.free


def test_a_ray_of_its_own_has_the_same_room_from_beginning_to_end():
    room = Room(Plan(3, 1, 1, "cpu"), ours=True)
    assert (room.most(), room.full(2), room.full(3)) == (3, False, True)
