from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from capetune.cli import main, signals
from capetune.errors import UserError
from capetune.events import ignore
from capetune.runs.record import Run, recorded

SLOW = {
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "pydantic",
    "optuna",
    "webdataset",
    "cv2",
    "matplotlib",
    "plotly",
    "rich",
}
COMMANDS = [[], ["search"], ["train"], ["eval"], ["demo"], ["report"], ["config"], ["data"], ["data", "pack"]]


@pytest.fixture
def program(monkeypatch, handlers):
    """program(function): what `run` does when a command does that: exit code."""
    monkeypatch.delenv("CAPETUNE_DEBUG", raising=False)

    def runner(function):
        monkeypatch.setattr(main, "app", lambda standalone_mode: function())
        with pytest.raises(SystemExit) as stop:
            main.run()
        return stop.value.code

    return runner


def raiser(error):
    def function():
        raise error

    return function


def imported_by_help(*commands):
    """What is imported once these commands' helps were printed."""
    code = (
        "import sys, json, contextlib, io\n"
        "from capetune.cli.main import run\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['capetune', *words, '--help']\n"
        "    try:\n"
        "        with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "            run()\n"
        "    except SystemExit as stop:\n"
        "        assert stop.code == 0 and 'Usage: capetune' in out.getvalue(), (words, stop.code, out.getvalue())\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    words = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_help_imports_nothing_slow():
    assert not SLOW & imported_by_help([])


def test_the_help_of_a_command_imports_nothing_slow_but_what_typer_does():
    assert not (SLOW - {"pydantic"}) & imported_by_help(*COMMANDS)


def test_every_command_has_an_example_in_its_help():
    from typer.testing import CliRunner

    for words in (["search"], ["train"], ["eval"], ["demo"], ["report"], ["config"]):
        help_text = CliRunner().invoke(main.app, [*words, "--help"]).stdout
        assert f"capetune {words[0]}" in help_text.split("Example", 1)[1]


def test_bad_input_is_one_line_and_exit_code_2(program, capsys):
    assert program(raiser(UserError("no\nsuch  thing"))) == 2
    assert capsys.readouterr().err == "error: no such thing\n"


def test_a_bug_is_one_line_that_says_how_to_see_more_and_exit_code_1(program, capsys):
    assert program(raiser(KeyError("x"))) == 1
    err = capsys.readouterr().err
    assert err == "error: KeyError: 'x' (a bug in capetune: run `capetune --debug …` for the traceback)\n"


def test_debug_shows_the_traceback(program, capsys, monkeypatch):
    monkeypatch.setenv("CAPETUNE_DEBUG", "1")
    assert program(raiser(UserError("no"))) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("how", [raiser(KeyboardInterrupt()), lambda: 130])  # typer turns the first into the second
def test_ctrl_c_is_130(program, capsys, how):
    assert program(how) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_sigterm_ends_like_ctrl_c_but_for_its_code(program, capsys):
    def function():
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert program(function) == 143
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_an_impatient_second_signal_leaves_time_to_write_down_where_it_ended(program, tmp_path, second):
    def function():
        with recorded(Run(tmp_path, "train", "running"), {}, "the same again", ignore):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            finally:
                os.kill(os.getpid(), second)

    assert program(function) == 130
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "interrupted"


def test_a_signal_that_ended_nothing_is_not_the_last_that_is_heard(program, monkeypatch):
    monkeypatch.setattr(signals, "IMPATIENCE", 0.0)

    def function():
        with contextlib.suppress(KeyboardInterrupt):  # as where it strikes in a destructor
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    assert program(function) == 143


REFUSED = [
    "search --space nosuch",
    "train --set a.b=1",
    "train --best",
    "promote nosuch",
    "eval --split 1",
    "runs show x",
]


@pytest.mark.parametrize("words", REFUSED)
def test_what_can_be_refused_without_torch_and_ray_is_refused_before_they_are_imported(words, tmp_path):
    code = (
        "import sys\n"
        "from capetune.cli.main import run\n"
        "try:\n"
        "    run()\n"
        "except SystemExit as stop:\n"
        "    print(stop.code, sorted({'torch', 'ray', 'timm', 'torchvision'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words.split()], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "2 []\n", done


@pytest.mark.parametrize(("entry", "code"), [("program", 2), ("run", -signal.SIGSEGV)])
def test_a_crash_in_python_s_own_end_changes_no_exit_code(entry, code, tmp_path):
    """As Ray's threads may, after Ctrl-C while it starts. What was to be done at the end is done."""
    words = (
        "import atexit, ctypes, sys\n"
        "from capetune.cli import main\n"
        "class Crash:\n"
        "    def __del__(self, read=ctypes.string_at):\n"
        "        read(0)\n"
        "sys.modules['kept'] = Crash()\n"
        "run = main.run\n"
        "main.run = lambda: (atexit.register(print, 'left'), run())\n"
        f"main.{entry}()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", words, "runs", "show", "x"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (code, "left\n"), done


def test_done_is_0(program):
    assert program(lambda: None) == 0
