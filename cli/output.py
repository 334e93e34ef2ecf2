"""What may reach the terminal: signs that it can show, and no library's remarks."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from typing import Any

HUSHED = "ignore"
_show = warnings.showwarning
_last_resort = logging.lastResort


def tame() -> None:
    """Write a ? for a sign that the output's encoding lacks, and keep from the user what libraries warn of in words of
    their own: what matters of it we say ourselves, and --debug shows it all."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    warnings.showwarning = _unless_hushed
    if not os.environ.get("CAPETUNE_DEBUG"):
        logging.lastResort = logging.NullHandler()  # where a logger's warnings go that nobody has set up
        os.environ.setdefault("PYTHONWARNINGS", HUSHED)  # for loader processes and Ray's workers


def untame() -> None:
    """For --debug, which is read once the program runs."""
    os.environ["CAPETUNE_DEBUG"] = "1"
    logging.lastResort = _last_resort
    if os.environ.get("PYTHONWARNINGS") == HUSHED:
        del os.environ["PYTHONWARNINGS"]


def _unless_hushed(*told: Any, **more: Any) -> None:
    if os.environ.get("CAPETUNE_DEBUG"):
        _show(*told, **more)
