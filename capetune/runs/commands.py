"""Commands to type next, as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

from capetune.storage.address import is_address

RUNS = "runs"  # what --runs is where it isn't given


def again(words: str, run: Path | str) -> str:
    """`capetune`, words and the run's name, as a shell takes them in the folder where this process is.

    words: from the verb to what the run's name comes after, such as "search --resume". run: its folder or address.
    --runs follows where the run isn't kept where a command looks by itself.
    """
    if is_address(run):
        runs, _, name = str(run).rpartition("/")
        return f"capetune {words} {shlex.quote(name)} --runs {shlex.quote(runs)}"
    run = Path(run)
    typed = f"capetune {words} {shlex.quote(run.name)}"
    if run.parent.resolve() == Path(RUNS).resolve():
        return typed
    return f"{typed} --runs {shlex.quote(str(run.parent))}"
