"""How a run or a trial failed: the file that holds its traceback, and the one line to say."""

from __future__ import annotations

import re

ERROR = "error.txt"


def error_line(text: str) -> str:
    """The line of a traceback that names the error: the last one that does, for messages may have several lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
    return (named or lines or ["no reason given"])[-1].strip()
