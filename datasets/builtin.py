"""The built-in synthetic data set: made and packed on first use, in the user's cache folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import VERSION, generate
from capetune.errors import UserError
from capetune.storage.cache import cache_folder, writable_cache

SYNTHETIC = "synthetic"


def open_data(
    data: str,
    making: Callable[[Path], None] = lambda folder: None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Pack:
    """The pack at `data`, a folder or an address; or the built-in one for `synthetic`, after making it if need be.

    making: called with its folder where it has to be made. progress: hears what is at work, how much is done, of how
    much. Raises UserError where `data` is neither.
    """
    if data != SYNTHETIC:
        return open_pack(data)
    out = cache_folder() / f"synthetic-v{VERSION}"
    if not out.is_dir():
        raw = writable_cache() / f"{out.name}.raw-{os.getpid()}"
        try:
            making(out)
            generate(raw, progress=partial(progress, "drawing categories"))
            pack(raw / "annotations", raw / "images", out, size=128, progress=partial(progress, "packing images"))
        except UserError:
            if not out.is_dir():  # else another process made the same one meanwhile
                raise
        finally:
            shutil.rmtree(raw, ignore_errors=True)
    return open_pack(out)
