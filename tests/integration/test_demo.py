"""`capetune demo` for real, as its command runs it but for the sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from .conftest import PATIENCE, SMALL

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_the_best_of_a_search_is_trained_further_and_scored_on_unseen_categories(tiny_pack, tmp_path):
    settings = [f"{key}={value}" for key, value in SMALL.items() if not key.startswith(("train.", "model.decoder"))]
    settings += ["train.batch_size=4", "train.learning_rate=0.0001"]
    short = {"epochs": 1, "steps": 2, "warmup": 0}
    full = {"epochs": 2, "steps": 3, "warmup": 0}
    sizes = {"data": str(tiny_pack), "set": settings, "short": short, "full": full, "episodes": 1, "queries": 5}
    script = f"""
from capetune.cli import common
from capetune.reports.demo import demo_lines
from capetune.service import demo

common.say(*demo_lines(common.run(demo, demo.DemoRequest.of(**{sizes!r}))))
"""
    own = {"HOME": str(tmp_path), "CAPETUNE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | own, capture_output=True, text=True,
        timeout=PATIENCE * 2,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    best = next(path for path in (tmp_path / "runs").iterdir() if path.name.endswith("-best"))
    search = json.loads((tmp_path / "runs" / best.name.removesuffix("-best") / "results.json").read_text())
    assert [trial["epochs"] for trial in search["trials"]] == [1, 1, 1, 1]
    trained = json.loads((best / "run.json").read_text())["config"]
    assert (trained["train"]["epochs"], trained["train"]["steps"]) == (2, 3)
    winner = max(search["trials"], key=lambda trial: trial["score"])
    assert trained["model"]["decoder"]["layers"] == winner["overrides"]["model.decoder.layers"]
    scores = json.loads((best / "eval-split1-test.json").read_text())
    assert f"model mPCK4 {scores['mpck4']:.3f}, template {scores['template']['mpck4']:.3f}" in ended.stdout
    assert "split 1 test, 1 shot, unseen categories, real data" in ended.stdout
    assert "time: data 0 s, search " in ended.stdout
    assert not list((tmp_path / "runs").glob("*/features"))
