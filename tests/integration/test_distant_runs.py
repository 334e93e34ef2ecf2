"""The whole way with pack and runs on S3 (moto's, on loopback), no machine sharing a folder with another: searched,
killed, gone on with, trained, scored and reported from three machines, with the same figures as in a folder."""

from __future__ import annotations

import gzip
import json

import pytest

from capetune.storage.address import open_place
from capetune.storage.place import Place

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(1200)]
SPACE = """
scheduler: none
points: [{loss.tokens: 0.3}, {loss.tokens: 0.5}, {loss.tokens: 0.8}]
loss.tokens: {log: [0.1, 1.0]}
"""


def epochs(place: Place, name: str) -> list[dict[str, float]]:
    """A training's figures but for how long they took."""
    rows = [json.loads(line) for line in place.read(f"{name}/history.jsonl").splitlines()]
    return [{key: row[key] for key in row if key != "generate_ms" and not key.startswith("seconds")} for row in rows]


def trials(place: Place) -> dict[int, tuple[dict, str, float, list]]:
    found = json.loads(place.read("mine/results.json"))["trials"]
    return {t["number"]: (t["overrides"], t["status"], t["score"], t["history"]) for t in found}


def test_all_of_it_works_without_a_shared_folder_and_gives_the_same_digits(start, place, tiny_pack, s3, bucket):
    there = f"{bucket}/distant-runs"
    pack, runs = f"{there}/tiny", f"{there}/runs"
    for file in tiny_pack.iterdir():
        open_place(pack).send(file, file.name)
    space = place / "space.yaml"
    space.write_text(SPACE)

    def machine(name: str) -> dict[str, str]:
        return {**s3, "CAPETUNE_CACHE": str(place.parent / f"machine-{name}")}

    def run(*words: object, on: str, **more: object):
        program = start(*words, also=machine(on), **more)
        assert program.end() == 0, program.err
        assert [line for line in program.err if not line.startswith("opening ")] == []
        return program

    search = ("search", "--space", space, "--trials", 4, "--name", "mine")
    program = start(*search, "--data", pack, "--runs", runs, set_={"train.epochs": 5}, also=machine("one"))
    program.wait_for("epoch 2/5")
    program.kill()
    assert program.process.wait(60) != 0
    listed = run("runs", "--runs", runs, on="two").out
    assert next(line for line in listed if line.startswith("mine")).split()[2:4] == ["cut", "off"]

    program = run("search", "--resume", "mine", "--runs", runs, on="two")
    assert f"next: capetune train --best mine --runs {runs}" in program.out
    train = ("train", "--best", "mine", "--workers", 2, "--name", "best", "--set", "data.workers=2")
    run(*train, "--profile", "--runs", runs, on="three")
    scored = ("eval", "--split", 1, "--episodes", 2, "--json")
    run(*scored, place / "there.json", "--runs", runs, "--checkpoint", f"{runs}/best/epoch-0005", on="one")
    assert run("report", "mine", "--runs", runs, on="one").out[-2].startswith(f"written: {runs}/mine/report.html (")
    assert run("report", "best", "--runs", runs, on="two").out[-1].startswith(f"written: {runs}/best/report.html (")

    run(*search, "--data", tiny_pack, on="one", set_={"train.epochs": 5})
    run(*train, on="one")
    run(*scored, place / "here.json", "--checkpoint", "runs/best/epoch-0005", on="one")

    far, near = open_place(runs), open_place(place / "runs")
    assert trials(far) == trials(near)
    assert {trial[1] for trial in trials(far).values()} == {"completed"}
    assert epochs(far, "best") == epochs(near, "best")
    for number in range(4):
        assert epochs(far, f"mine/trials/trial-{number:03d}") == epochs(near, f"mine/trials/trial-{number:03d}")
    scores = {name: json.loads((place / f"{name}.json").read_text())["mpck4"] for name in ("there", "here")}
    assert scores["there"] == scores["here"]
    names = list(far.names())
    assert {"mine/run.json", "mine/best.yaml", "mine/report.html", "best/run.json", "best/report.html"} <= set(names)
    trace = json.loads(gzip.decompress(far.read("best/trace.json.gz")))  # and the digits are those of one without
    assert trace["traceEvents"]
    assert {"training_began", "steps_traced"} <= {
        json.loads(line)["event"] for line in far.read("best/events.jsonl").splitlines()
    }
    assert not [name for name in names if "journal" in name or "copies" in name]
    assert {name.split("/")[1] for name in names if name.startswith("best/epoch-")} <= {
        f"epoch-{row['epoch']:04d}" for row in epochs(far, "best")
    }
    for name in names:
        if name.endswith((".json", ".jsonl", ".yaml", ".html")):
            content = far.read(name)
            assert b"wholly-secret" not in content
            assert str(place.parent).encode() not in content.replace(str(space).encode(), b"")
    assert json.loads(far.read("mine/run.json"))["pack"] == pack
    for name in ("one", "two", "three"):  # a run leaves nothing on the machines that it was on
        assert list((place.parent / f"machine-{name}/copies").iterdir()) == []


def test_trials_that_their_scheduler_ends_have_sent_what_they_made(start, place, tiny_pack, s3, bucket):
    runs = f"{bucket}/short-runs"
    asked = ("search", "--space", "losses", "--trials", 2, "--data", tiny_pack, "--runs", runs, "--name", "short")
    program = start(*asked, set_={"train.epochs": 1}, also=s3)
    assert program.end() == 0, program.err
    found = json.loads(open_place(runs).read("short/results.json"))["trials"]
    assert [trial["status"] for trial in found] == ["completed", "completed"]
    assert all(len(trial["history"]) == 1 for trial in found)
