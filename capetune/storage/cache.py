"""The folder of what capetune keeps on a machine and can make again."""

from __future__ import annotations

import os
from pathlib import Path

from capetune.errors import UserError


def cache_folder() -> Path:
    """Where capetune keeps what it can make again: $CAPETUNE_CACHE, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CAPETUNE_CACHE") or Path(base) / "capetune").absolute()


def writable_cache() -> Path:
    """The same, made if need be. Raises UserError where it can't be."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't make {folder} ({error.strerror}): set CAPETUNE_CACHE to a folder you own") from None
    return folder
