"""The built-in synthetic data set: made and packed on first use, in the user's cache folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from capetune.datasets.pack import Pack, open_pack
from capetune.datasets.shards import pack
from capetune.datasets.synthetic import VERSION, generate
from capetune.errors import UserError

SYNTHETIC = "synthetic"


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


def open_data(data: str, say: Callable[[str], None] = lambda line: None) -> Pack:
    """The pack in folder `data`, or the built-in one for `synthetic`, after making it if need be (about two minutes).

    say: hears what is being made and where. Raises UserError where `data` is neither.
    """
    if data != SYNTHETIC:
        return open_pack(Path(data))
    out = cache_folder() / f"synthetic-v{VERSION}"
    if not out.is_dir():
        raw = writable_cache() / f"{out.name}.raw-{os.getpid()}"
        try:
            say(f"making the built-in synthetic data set in {out}, once")
            generate(raw)
            pack(raw / "annotations", raw / "images", out, size=128)
        except UserError:
            if not out.is_dir():  # else another process made the same one meanwhile
                raise
        finally:
            shutil.rmtree(raw, ignore_errors=True)
    return open_pack(out)
