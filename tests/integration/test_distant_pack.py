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
    scores = {}
    for name, data in {"there": address, "here": str(tiny_pack)}.items():
        machine = {**s3, "CAPETUNE_CACHE": str(place.parent / f"machine-{name}")}
        space = ("--space", "losses", "--trials", 1)
        program = start("search", *space, "--data", data, "--name", name, also=machine)
        assert program.end() == 0, program.err
        assert program.err == []
        two = ("train", "--best", name, "--workers", 2, "--name", f"{name}-best", "--set", "data.workers=2")
        program = start(*two, also=machine)
        assert program.end() == 0, program.err
        report = place / f"{name}.json"
        scored = ("eval", "--checkpoint", place / f"runs/{name}-best/epoch-0002", "--split", 1, "--episodes", 2)
        program = start(*scored, "--data", data, "--json", report, also=machine)
        assert program.end() == 0, program.err
        scores[name] = json.loads(report.read_text())["mpck4"]
    there, here = (place / "runs" / name for name in ("there", "here"))
    assert same(there / "trials/trial-000") == same(here / "trials/trial-000")
    assert same(there.with_name("there-best")) == same(here.with_name("here-best"))
    assert scores["there"] == scores["here"]
    record = json.loads((there / "run.json").read_text())
    assert record["pack"] == address
    assert (place.parent / "machine-there/shards").is_dir()
    assert not (place.parent / "machine-here/shards").exists()
    assert "wholly-secret" not in (there / "run.json").read_text()
