"""How a run or a trial failed: the file that holds its traceback, and the one line to say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from capetune.errors import Diverged, UserError
from capetune.storage.whole import write_aside

ERROR = "error.txt"


def error_line(text: str) -> str:
    """The line of a traceback that names the error: the last one that does, for messages may have several lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
    return (named or lines or ["no reason given"])[-1].strip()


def failure(folder: Path, run: Path, lost: str | None) -> dict[str, Any]:
    """`TrialResult`'s status, error, bad_input and traceback of a trial without a score; nothing for another."""
    file = folder / ERROR
    if not file.is_file():
        if lost is None:
            return {}
        folder.mkdir(parents=True, exist_ok=True)
        write_aside(file, lost + "\n")
    line = error_line(file.read_text())
    kind, _, rest = line.partition(": ")
    bad_input, diverged = (kind == f"{k.__module__}.{k.__qualname__}" for k in (UserError, Diverged))
    return {
        "status": "diverged" if diverged else "failed",
        "error": rest if bad_input or diverged else line,
        "bad_input": bad_input or diverged,
        "traceback": str(file.relative_to(run)),
    }
