"""What launching checks before Ray has to do anything; the whole is in tests/integration."""

from __future__ import annotations

import pytest

from capetune.cluster.machines import Cluster
from capetune.config import load_preset
from capetune.errors import UserError
from capetune.events import WorkersBeganAgain
from capetune.training.launch import _Course, _keep, check_workers


def test_as_many_workers_as_processors_and_shards_are_fine(pack):
    check_workers(pack, Cluster("", None, ((2, 0),)), load_preset("demo"), 2, 2)
    check_workers(pack, Cluster("", None, ((8, 8),)), load_preset("demo"), 2, 8)


@pytest.mark.parametrize(
    ("cpus", "gpus", "said"),
    [
        (2, 0, "3 workers need 3 CPUs, the cluster has 2; --workers 2:4 begins"),
        (16, 1, "need 3 GPUs, the cluster has 1"),
    ],
)
def test_too_few_processors_are_said_with_the_cure(pack, cpus, gpus, said):
    with pytest.raises(UserError, match=said):
        check_workers(pack, Cluster("", None, ((cpus, gpus),)), load_preset("demo"), 3, 4)


def test_too_few_shards_are_said_before_processors(pack):
    with pytest.raises(UserError, match="8 shards can't feed 9 readers"):
        check_workers(pack, Cluster("", None, ((2, 0),)), load_preset("demo"), 1, 9)


class WorkersFailed(Exception):
    worker_failures = {1: "Traceback …\nValueError: of rank 1\n", 3: "Traceback …\nKilled\n"}  # noqa: RUF012


def test_the_workers_tracebacks_are_kept_and_the_first_one_s_last_line_said(tmp_path):
    line = _keep(WorkersFailed(), tmp_path)
    assert line == f"a training worker failed: ValueError: of rank 1; its traceback is in {tmp_path}/error.txt"
    text = (tmp_path / "error.txt").read_text()
    assert "worker 1:\nTraceback …\nValueError: of rank 1\n" in text
    assert "worker 3:\nTraceback …\nKilled\n" in text


def test_a_failure_of_ray_itself_is_kept_too(tmp_path):
    line = _keep(RuntimeError("the controller\nis gone"), tmp_path)
    assert line.startswith("a training worker failed: is gone;")


def test_a_new_beginning_of_the_workers_says_from_where_and_what_is_made_again():
    course = _Course("run")
    step = lambda epoch, step: course.hear({"epoch": epoch, "step": step, "steps": 10})  # noqa: E731
    begin = lambda: course.hear({"workers": 2, "batch": 8, "asked": 8})  # noqa: E731
    assert [begin(), step(1, 1), step(1, 10), course.hear({"metrics": {"epoch": 1.0}}), step(2, 7)] == [None] * 5
    assert begin() is None
    assert step(2, 1) == WorkersBeganAgain("run", 1, 0, 7)
    assert step(2, 8) is None
    begin()
    assert step(2, 9) == WorkersBeganAgain("run", 1, 8, 0)  # it was kept under way
    begin()
    assert begin() is None
    assert step(2, 10) == WorkersBeganAgain("run", 1, 9, 0)
    begin()
    assert step(1, 1) == WorkersBeganAgain("run", 0, 0, 20)
