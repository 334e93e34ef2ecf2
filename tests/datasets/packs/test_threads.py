import threading
import time

import pytest

from capetune.datasets.packs.threads import ordered


def test_results_come_in_the_order_of_the_tasks():
    def job(number):
        time.sleep(0.01 * (number % 3))
        return number * number

    assert list(ordered(job, range(20), threads=4, ahead=6)) == [n * n for n in range(20)]
    assert list(ordered(job, [], threads=2, ahead=2)) == []


def test_no_more_than_asked_is_taken_ahead():
    taken = []

    def tasks():
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered(lambda number: number, tasks(), threads=2, ahead=5)
    assert not taken
    assert next(results) == 0
    assert taken == [0, 1, 2, 3, 4, 5]
    results.close()
    assert len(taken) == 6


def test_an_error_comes_in_its_place_and_ends_the_threads():
    def job(number):
        if number == 3:
            raise ValueError("three")
        return number

    before = threading.active_count()
    results = ordered(job, range(10), threads=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert threading.active_count() == before
