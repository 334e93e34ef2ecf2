"""Numbers and names as tables and lines show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def short(value: Any) -> str:
    """A parameter's value for a table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def share(value: float | None) -> str:
    """A score for a table."""
    return "–" if value is None else f"{value:.3f}"


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def tails(keys: Sequence[str]) -> list[str]:
    """Each dotted key cut to its end, as short as it stays one of its own: layers, or decoder.layers beside another."""

    def tail(key: str) -> str:
        parts = key.split(".")
        for count in range(1, len(parts)):
            end = ".".join(parts[-count:])
            if sum(other == end or other.endswith("." + end) for other in keys) == 1:
                return end
        return key

    return [tail(key) for key in keys]


def in_words(size: float) -> str:
    """Bytes for a table."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
