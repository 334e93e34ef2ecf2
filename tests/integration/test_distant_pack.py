"""The whole way on a pack that lies on S3 (moto's, on loopback): the same figures as on the same pack in a folder."""

from __future__ import annotations

import json

import pytest

from capetune.runs.history import read_history
from capetune.storage.address import open_place

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
TIMES = ("seconds", "generate_ms")


def same(folder) -> list[dict[str, float]]:
    """An epoch's figures but for how long it took."""
    return [{name: row[name] for name in row if name not in TIMES} for row in read_history(folder)]


def test_search_train_and_evaluation_give_the_same_digits(start, place, tiny_pack, s3, bucket):
    address = f"{bucket}/whole-way/tiny"
    for file in tiny_pack.iterdir():
        open_place(address).send(file, file.name)
    machines = {name: {**s3, "CAPETUNE_CACHE": str(place.parent / f"machine-{name}")} for name in ("there", "here")}
    space = ("--space", "losses", "--trials", 1)
    program = start("search", *space, "--data", address, "--name", "mine", also=machines["there"])
    assert program.end() == 0, program.err
    assert program.err == []
    best = place / "runs/mine/best.yaml"
    two = ("train", "--config", best, "--workers", 2)
    scores = {}
    for name, data in {"there": address, "here": tiny_pack}.items():
        program = start(*two, "--data", data, "--name", name, set_={"data.workers": 2}, also=machines[name])
        assert program.end() == 0, program.err
        report = place / f"{name}.json"
        scored = ("eval", "--checkpoint", place / f"runs/{name}/epoch-0002", "--split", 1, "--episodes", 2)
        program = start(*scored, "--data", data, "--json", report, also=machines[name])
        assert program.end() == 0, program.err
        scores[name] = json.loads(report.read_text())["mpck4"]
    assert same(place / "runs/there") == same(place / "runs/here")
    assert scores["there"] == scores["here"]
    record = json.loads((place / "runs/mine/run.json").read_text())
    assert record["pack"] == address
    assert (place.parent / "machine-there/shards").is_dir()
    assert not (place.parent / "machine-here/shards").exists()
    assert "wholly-secret" not in (place / "runs/mine/run.json").read_text()
