"""Where the time of a training's steps goes: between two marks lies the part that the second one names."""

from __future__ import annotations

import time
from collections import defaultdict

import torch


class Laps:
    """By the wall clock, from when it is made."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """What has passed since the mark before was of that part."""
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now

    def read(self) -> dict[str, float]:
        """Seconds by part."""
        return dict(self._seconds)


class DeviceLaps(Laps):
    """By a GPU's own clock: marks are events in its current stream, for which nothing waits before they are read. What
    the GPU stands idle for belongs to the part that it gets no work in."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, torch.cuda.Event]] = []
        self.mark("")

    def mark(self, part: str) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._marks.append((part, event))

    def read(self) -> dict[str, float]:
        """Seconds by part. Waits for the last mark."""
        self._marks[-1][1].synchronize()
        seconds: dict[str, float] = defaultdict(float)
        for (_, before), (part, event) in zip(self._marks, self._marks[1:], strict=False):
            seconds[part] += before.elapsed_time(event) / 1000
        return dict(seconds)


def laps_on(device: str) -> Laps:
    """What measures a device's work."""
    where = torch.device(device)
    return DeviceLaps(where) if where.type == "cuda" else Laps()
