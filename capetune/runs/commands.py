"""What a person is told to type next, so that it works as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path

from capetune.runs.record import Run


def again(words: str, run: Run) -> str:
    """`search --resume` and a run → the command with its name, and with --runs where it lies elsewhere than in runs/ of
    the current folder."""
    place = run.folder.parent
    command = ["capetune", *words.split(), run.name]
    if place.absolute() != Path("runs").absolute():
        command += ["--runs", str(place)]
    return shlex.join(command)
