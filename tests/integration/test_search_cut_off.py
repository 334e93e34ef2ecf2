"""A search that Ctrl-C, SIGKILL or a spent budget ends before its time, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request

import psutil
import pytest

from capetune.runs.history import read_history
from capetune.runs.record import read_run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_a_running_search_is_guarded_and_ctrl_c_ends_all_of_it(start, place, tiny_pack):
    many = {"train.epochs": 500}
    program = start("search", "--space", "losses", "--data", tiny_pack, "--trials", 40, "--name", "long", set_=many)
    said = program.wait_for("Ray: ")
    program.wait_for("epoch 2/")
    dashboard = next(word for word in said.split() if word.startswith("http://127.0.0.1:"))
    token = (place.parent / "home/cache/ray-token").read_text()
    assert _status(dashboard, None) == 401
    assert _status(dashboard, token) == 200
    assert _listening(program.children()) == {"127.0.0.1"}

    program.signal(signal.SIGINT, group=True)
    time.sleep(0.2)  # an impatient second Ctrl-C, wherever the first one has got to
    program.signal(signal.SIGINT, group=True)
    assert program.end() == 130
    assert program.err == ["error: interrupted"]
    run = read_run(place / "runs/long")
    assert run is not None
    assert run.state == "interrupted"


def test_a_search_that_is_killed_anywhere_goes_on_without_losing_or_repeating_a_trial(
    start, place, tiny_pack, trials_of, study_of
):
    """SIGKILL of the driver alone, of a worker, and of everything at once; then to the end."""
    long = {"train.epochs": 4, "train.steps": 3}
    program = start("search", "--space", "losses", "--data", tiny_pack, "--trials", 4, "--name", "hard", set_=long)
    program.wait_for("epoch 2/4")
    program.signal(signal.SIGKILL)
    program.process.wait(60)  # some of Ray's agents live on for a while: that must do no harm

    program = start("search", "--resume", "hard")
    program.wait_for("epoch 3/4")
    trials = [process for process in program.children() if "ray::Trial" in " ".join(process.cmdline())]
    victim = trials[0]
    victim.kill()
    program.wait_for("completed, epoch 4/4")
    program.kill()
    assert program.end() == -signal.SIGKILL

    program = start("search", "--resume", "hard")
    assert program.end() == 0, program.err
    folder = place / "runs/hard"
    results = trials_of(folder)
    assert sorted(results) == [0, 1, 2, 3]
    assert {trial["status"] for trial in results.values()} <= {"completed", "pruned"}
    assert [trial.state.is_finished() for trial in study_of(folder).trials] == [True] * 4
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    ends = [event["trial"] for event in events if event["event"] == "trial_ended"]
    assert sorted(ends) == [0, 1, 2, 3]
    for number, trial in results.items():
        history = read_history(folder / f"trials/trial-{number:03d}")
        assert [row["epoch"] for row in history] == list(range(1, trial["epochs"] + 1))
    kept = {str(file.parent.relative_to(folder)) for file in folder.glob("trials/*/*/meta.json")}
    assert kept == {trial["checkpoint"] for trial in results.values()} - {None}
    assert len(kept) == 3


@pytest.mark.deploy  # long as it is
def test_a_search_whose_epochs_or_hours_are_spent_stops_and_goes_on_with_more(start, place, tiny_pack, trials_of):
    for name, epochs in (("small", 9), ("large", 900)):
        (place / f"{name}.yaml").write_text(f"budget: {{epochs: {epochs}}}\nloss.tokens: {{log: [0.05, 2]}}\n")
    options = ("--data", tiny_pack, "--trials", 2, "--name", "late", "--keep", 1, "--workers-per-trial", 2)
    program = start("search", "--space", "small.yaml", *options, set_={"train.epochs": 25})
    assert program.end() == 0, program.err
    assert program.out[-1].endswith("--resume late with a larger budget in --space FILE goes on")
    folder = place / "runs/late"
    assert read_run(folder).state == "interrupted"
    assert 9 <= sum(len(read_history(trial)) for trial in folder.glob("trials/*")) <= 10
    before = read_history(folder / "trials/trial-000")
    assert {number: trial["status"] for number, trial in trials_of(folder).items()} == {0: "stopped"}

    program = start(
        "search", "--resume", "late", "--space", "large.yaml", "--hours", 5 / 3600, "--workers-per-trial", 1
    )
    assert program.end() == 0, program.err
    assert program.out[-1].endswith("trials are left: --resume late with more --hours goes on")

    program = start("search", "--resume", "late", "--hours", 1)
    assert program.end() == 0, program.err
    after = trials_of(folder)
    assert sorted(after) == [0, 1]
    assert {trial["status"] for trial in after.values()} <= {"completed", "pruned"}
    assert read_history(folder / "trials/trial-000")[: len(before)] == before
    assert read_run(folder).state == "completed"
    assert len(list(folder.glob("trials/*/epoch-*"))) == 1  # --keep is remembered


def _status(dashboard: str, token: str | None) -> int:
    request = urllib.request.Request(dashboard.rstrip("/") + "/api/cluster_status")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def _listening(processes) -> set[str]:
    """Addresses that processes take connections on."""
    ids = {process.pid for process in processes} - {os.getpid()}
    found = {c.laddr.ip for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid in ids}
    return {address.removeprefix("::ffff:") for address in found}  # IPv4's loopback as IPv6 spells it


@pytest.mark.deploy  # long as it is
def test_a_search_of_several_seeds_that_is_killed_in_a_repeat_goes_on_with_it(start, place, tiny_pack, trials_of):
    (place / "seeds.yaml").write_text("repeats: 2\nscheduler: none\nloss.tokens: {log: [0.05, 2]}\n")
    long = {"train.epochs": 3, "train.steps": 6}
    program = start("search", "--space", "seeds.yaml", "--data", tiny_pack, "--trials", 1, "--name", "seeds", set_=long)
    program.wait_for("epoch 2/3")
    folder = place / "runs/seeds/trials/trial-000"
    until = time.monotonic() + 120
    while not read_history(folder / "repeat-1"):
        assert time.monotonic() < until
        time.sleep(0.05)
    program.kill()
    program.end()
    first = read_history(folder)
    assert len(first) == 3

    program = start("search", "--resume", "seeds")
    assert program.end() == 0, program.err
    assert read_history(folder) == first  # it wasn't trained again
    repeated = read_history(folder / "repeat-1")
    assert [row["epoch"] for row in repeated] == [1, 2, 3]
    (trial,) = trials_of(place / "runs/seeds").values()
    assert trial["seeds"] == [max(row["mpck4"] for row in history) for history in (first, repeated)]
    assert trial["score"] == pytest.approx(sum(trial["seeds"]) / 2)
    assert [path.parent.name for path in folder.rglob("epoch-*")] == ["trial-000"]
