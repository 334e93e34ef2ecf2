"""What reaches the terminal of a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capetune.runs.history import add_to_history
from capetune.runs.record import Run

PROGRAM = "from capetune.cli.main import program; program()"


def process(
    folder: Path, *words: object, code: str = PROGRAM, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    kept = {k: v for k, v in os.environ.items() if k not in ("CAPETUNE_DEBUG", "PYTHONWARNINGS", "PYTHONIOENCODING")}
    arguments = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(arguments, cwd=folder, env=kept | environment, capture_output=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose names no narrow encoding has, and a space."""
    row = {"epoch": 1, "mpck4": 0.5, "template_mpck4": 0.4, "forced_mpck4": 0.5, "train_loss": 1.0, "val_loss": 1.0}
    add_to_history(tmp_path / "runs" / "one", row | {"seconds": 1.0})
    facts = {"data": "★ – × ± ✓ → …", "missing_categories": {"test": ["Löwe", "\udcff", "虎"]}}
    Run(tmp_path / "runs" / "one", "train", "completed").save("completed", **facts)
    (tmp_path / "mine.yaml").write_text("loss.tokens: {log: [0.05, 2]}\nmodel.sequence: {choice: [xy, point]}\n")
    (tmp_path / "broken.yaml").write_text("loss.tökens: {log: [0.05, 2]}\n", encoding="utf-8")
    return tmp_path


ROWS = {
    "runs": (0, "one"),
    "runs show one": (0, "missing_categories"),
    "runs show one --json": (0, "missing_categories"),
    "space list": (0, "decoder"),
    "space show mine.yaml": (0, "configurations; goal mpck4"),
    "config --preset demo --set model.backbone.weights=Löwe": (0, "efficientnet_lite0"),
    "data check --annotations {tiny}/annotations": (0, "MP-100 by source and category"),
    "data split --annotations {tiny}/annotations --out Löwe": (0, "split 1 by frames"),
    "space show broken.yaml": (2, "error: broken.yaml, line 1: loss.t"),
    "runs show Löwe": (2, "error: there is no run 'L"),
    "eval --split 1 --episodes 1 --predictor template --annotations {tiny}/annotations": (0, "template"),
}
EACH = """
import json, sys
from capetune.cli.main import run
for row in json.loads(sys.argv[1]):
    sys.argv = ["capetune", *row]
    try:
        run()
    except SystemExit as stop:
        for stream in (sys.stdout, sys.stderr):
            print(f"#end {stop.code}", file=stream, flush=True)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_sign_that_the_output_lacks_is_replaced_and_ends_nothing(folder, tiny_root, encoding):
    rows = json.dumps([row.format(tiny=tiny_root).split() for row in ROWS])
    done = process(folder, rows, code=EACH, PYTHONIOENCODING=encoding)
    streams = [stream.decode(encoding).split("#end ") for stream in (done.stdout, done.stderr)]
    assert len(streams[0]) == len(ROWS) + 1, streams[1][-1]
    for number, (row, (code, said)) in enumerate(ROWS.items()):
        out, err = (stream[number].split("\n", number > 0)[-1] for stream in streams)
        ended = streams[0][number + 1].split("\n")[0]
        assert ended == str(code), f"{row}: {err}"
        assert said in (err if code else out), row


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_shown_where_signs_are_lacking(folder, encoding):
    done = process(folder, "search", "--help", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"capetune search --resume" in done.stdout


def test_json_loses_nothing_where_signs_are_lacking(folder):
    done = process(folder, "runs", "show", "one", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["data"] == "★ – × ± ✓ → …"


def test_a_library_s_warning_is_not_the_user_s(folder):
    """Optuna warns of a step that misses the end; we say so ourselves, in one line."""
    (folder / "step.yaml").write_text("model.decoder.layers: {int: [2, 6], step: 3}\n")
    done = process(folder, "space", "show", "step.yaml")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: step.yaml, line 1: model.decoder.layers: int [2, 6] in steps of 3 never reaches 6: "
        "write [2, 5] or [2, 8]\n"
    )


WARNING = """
import logging, subprocess, sys, warnings
import optuna
from capetune.cli import main, runs
def warn():
    optuna.distributions.IntDistribution(2, 6, step=3)
    warnings.warn_explicit("odd", UserWarning, "/usr/lib/library.py", 3)
    logging.getLogger("library").warning("odd too")
    subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('of a child')"], check=True)
runs.app.registered_commands[0].callback = warn  # `runs show`
main.program()
"""


@pytest.mark.parametrize(("options", "seen"), [([], False), (["--debug"], True)])
def test_warnings_of_whatever_library_are_shown_with_debug_only(folder, options, seen):
    done = process(folder, *options, "runs", "show", code=WARNING)
    assert done.returncode == 0, done.stderr
    for text in ("site-packages", "UserWarning: odd", "odd too", "of a child"):
        assert (text in done.stderr.decode()) == seen, text
    assert seen or done.stderr == b""


def test_debug_may_come_from_the_environment(folder):
    assert b"UserWarning: odd" in process(folder, "runs", "show", code=WARNING, CAPETUNE_DEBUG="1").stderr


def test_what_the_user_set_python_s_warnings_to_is_left(folder):
    done = process(folder, "runs", "show", code=WARNING, PYTHONWARNINGS="default")
    assert b"of a child" in done.stderr
    assert b"UserWarning: odd" not in done.stderr


def test_the_version_is_said_with_those_of_what_it_runs_on_without_importing_them(folder):
    code = (
        "import sys\nfrom capetune.cli.main import run\ntry:\n    run()\nexcept SystemExit as stop:\n"
        "    print(stop.code, sorted({'torch', 'ray', 'optuna'} & sys.modules.keys()))"
    )
    first, second, last = process(folder, "--version", code=code).stdout.decode().splitlines()
    assert first == "capetune 0.1.0"
    assert [words.split()[0] for words in second.split(", ")] == ["python", "torch", "ray", "optuna"]
    assert last == "0 []"
