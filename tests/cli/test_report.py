"""`capetune report`: what it prints, and bad input."""

from __future__ import annotations

import json
import sys

import pytest

from capetune.cli import main


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path, handlers):
    """typed(words): exit code, stdout and stderr of `capetune report` and these words, in a folder with two searches:
    begun, none of whose trials has ended, and failed, whose only trial did; a training and a promotion without
    anything."""
    kinds = {"begun": "search", "failed": "search", "trained": "train", "promoted": "promote"}
    for name, kind in kinds.items():
        state = "failed" if name == "failed" else "interrupted"
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"capetune": "run", "kind": kind, "state": state, "trials": 2}))
    trial = tmp_path / "runs/failed/trials/trial-000"
    trial.mkdir(parents=True)
    result = {"number": 0, "overrides": {"loss.tokens": 0.2}, "status": "failed", "score": None, "metrics": {}}
    result |= {"history": [], "seconds": 1.0, "config_hash": None, "checkpoint": None, "error": "ValueError: no"}
    (trial / "result.json").write_text(json.dumps(result))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAPETUNE_DEBUG", raising=False)

    def run(words):
        monkeypatch.setattr(sys, "argv", ["capetune", "report", *words.split()])
        with pytest.raises(SystemExit) as stop:
            main.run()
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "Missing argument 'NAME'; see `"),
        ("no.json", "no.json: there is no such file; `capetune eval --json FILE` writes one"),
        ("runs/begun/run.json", "runs/begun/run.json is odd: "),
        (
            "begun --data packs",
            "--data is for the report of an evaluation, a file of `eval --json`; begun is none: leave",
        ),
        ("unheard", "there is no run 'unheard' in runs (there: "),
        ("trained", "no epoch of trained has ended yet, so there is nothing to report; give the command that began"),
        ("promoted", "no job of promoted has begun yet, so there is nothing to report; give the command that began"),
        ("begun --runs nowhere", "there is no run 'begun' in nowhere (there: none yet)"),
        ("begun", "no trial of begun has ended yet, so there is nothing to report; go on with it: capetune search"),
        ("failed --out runs", "runs is a folder; give --out a file, such as runs/report.html"),
        (
            "failed --out runs/begun/run.json/page.html",
            "can't write runs/begun/run.json/page.html: give --out a file in a folder that exists",
        ),
    ],
)
def test_bad_input_is_one_line_with_its_cure_and_exit_code_2(typed, tmp_path, words, line):
    code, out, err = typed(words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert line in err
    assert not list(tmp_path.glob("**/*.html"))


def test_it_says_what_was_written_and_what_could_not_be_drawn(typed):
    code, out, err = typed("failed")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "failed: failed, 1 of 2 trials have ended"
    assert lines[1] == "not drawn: Learning curves: no trial has finished an epoch"
    assert "not drawn: Slices: Optuna's journal is not there: optuna.journal" in lines
    assert lines[-1].startswith("written: runs/failed/report.html (")
