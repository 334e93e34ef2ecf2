"""Benchmarks take long, so tests don't run them; but they must load, and say what they measure."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
HELPERS = {
    "breakable.py",
    "foreseen.py",
    "gpu_learning.py",
    "gpu_speed.py",
    "harness.py",
    "paper.py",
    "replay.py",
    "stores.py",
}
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in HELPERS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_says_what_it_measures(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / script), run_name="__main__")
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_make_bench_runs_every_benchmark_of_speed() -> None:
    """Those of accuracy take an hour, or want a checkpoint; that of the GPU has a target of its own."""
    bench = (FOLDER.parent / "Makefile").read_text().split("\nbench:")[1]
    others = {
        "accuracy.py",
        "balance.py",
        "categories.py",
        "copies.py",
        "curves.py",
        "faults.py",
        "many.py",
        "options.py",
        "reliability.py",
        "search.py",
        "support.py",
    }
    for script in set(SCRIPTS) - others:
        assert script.removesuffix(".py") in bench, script
