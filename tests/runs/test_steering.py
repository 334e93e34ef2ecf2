from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from capetune.runs.steering import FOLDER, Requests, Steer
from capetune.storage.address import open_place


@pytest.fixture(params=["folder", "address"])
def place(request, tmp_path):
    return open_place(tmp_path / FOLDER if request.param == "folder" else f"memory://{tmp_path.name}/{FOLDER}")


def test_of_commands_at_once_none_is_lost_and_each_is_read_once_in_the_order_of_their_numbers(place):
    def ask(number: int) -> int:
        return Requests(place).add(Steer(({"loss.tokens": 0.1 * number},), (number,), number + 1, f"{number}"))

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(ask, range(12)))
    assert sorted(numbers) == list(range(1, 13))
    search = Requests(place)
    found = search.news()
    assert [number for number, _ in found] == list(range(1, 13))
    assert {number: steer.token for number, steer in found} == {number: f"{i}" for i, number in enumerate(numbers)}
    assert search.news() == []
    Requests(place).add(Steer(stop=(3,)))
    assert search.news() == [(13, Steer(stop=(3,)))]


def test_who_goes_on_with_a_search_reads_all_of_them_again(place):
    Requests(place).add(Steer(trials=8, token="a"))
    assert Requests(place).news() == Requests(place).news() == [(1, Steer(trials=8, token="a"))]


def test_a_damaged_request_is_told_from_those_that_are_whole(place):
    requests = Requests(place)
    requests.add(Steer(trials=8))
    for number, content in enumerate((b"", b"{", b'{"points": 3}', b'{"stop": ["1"], "points": [], "trials": 1}'), 2):
        place.write(f"{number:06d}.json", content)
    place.write("notes.txt", b"nobody's")
    assert [steer is None for _, steer in requests.news()] == [False, True, True, True, True]


def test_one_that_is_withdrawn_is_not_taken(place):
    requests = Requests(place)
    requests.withdraw(requests.add(Steer(trials=8)))
    assert requests.news() == []


def test_no_number_is_used_again_where_the_files_of_what_was_taken_are_gone(place):
    assert Requests(place).add(Steer(trials=8), after=3) == 4


def test_a_search_s_requests_lie_in_its_folder(tmp_path):
    Requests.of(tmp_path).add(Steer(trials=8))
    assert [file.relative_to(tmp_path) for file in tmp_path.rglob("*.json")] == [Path(FOLDER, "000001.json")]
