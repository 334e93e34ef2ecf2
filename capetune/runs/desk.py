"""Where a training works: in its folder itself or, of one at an address, in a copy that goes there epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capetune.runs.checkpoints import keep_epoch
from capetune.runs.copy import Copy, Sender, fetch_latest
from capetune.storage.address import is_address, open_place
from capetune.storage.scratch import scratch


@dataclass(frozen=True)
class Bench:
    """folder: where it works. sender: what sends it to the address, where it lies at one and is ours to send."""

    folder: Path
    sender: Sender | None = None

    def send(self) -> None:
        """Let go there what was written until now; nothing is to be written before `keep_epoch`."""
        if self.sender is not None:
            self.sender.begin()

    def bring(self, checkpoint: Path) -> None:
        """Have all of a checkpoint of the folder here: of those that were found there only the latest is."""
        if self.sender is None:
            return
        self.sender.wait()
        copy, name = self.sender.copy, checkpoint.relative_to(self.folder).as_posix()
        if any(mark is None for known, mark in copy.known.items() if known.startswith(f"{name}/")):
            copy.fetch(name, wanted=lambda file: True)

    def keep_epoch(self, metrics: dict[str, float], *how: Any) -> tuple[Path, str | None]:
        """`checkpoints.keep_epoch`, which is sent while the next epoch trains, and never two at once. Returns the
        checkpoint, and why the last one couldn't be sent, where that failed: it goes with this one.

        metrics: gets seconds_upload, for which the training has waited for what it sent since the epoch before.
        """
        trouble = self.sent()
        metrics["seconds_upload"] = 0.0 if self.sender is None else self.sender.take_waited()
        path = keep_epoch(self.folder, metrics, *how)
        self.send()
        return path, trouble

    def sent(self) -> str | None:
        """Wait until what was kept is there. Returns why it isn't, where that failed: it goes with the next epoch."""
        return None if self.sender is None else self.sender.wait()

    def keep_under_way(self, save: Callable[[Path], None]) -> str | None:
        """Keep an epoch in its middle, by `save`, and send it beside the steps that follow. Returns as above."""
        trouble = None if self.sender is None else self.sender.wait()
        save(self.folder)
        self.send()
        return trouble


def late(trouble: str) -> str:
    """What is said of an epoch that couldn't be sent yet."""
    return f"{trouble}; it is sent with the next epoch"


@contextmanager
def at_bench(where: str, run: str, lease: int, sends: bool = True) -> Iterator[Bench]:
    """where: the training's folder or address, at which it goes on from what is there. run: the run's, under whose
    lease of that number it works. sends: whether this process sends what it writes, which it has sent on leaving.

    Raises UserError where that fails for long, Superseded where another process works on the run now.
    """
    if not is_address(where):
        yield Bench(Path(where))
        return
    with scratch(where) as folder:
        copy = Copy(open_place(where), folder)
        fetch_latest(copy)
        sender = Sender(copy, open_place(run), lease) if sends else None
        try:
            yield Bench(folder, sender)
        finally:
            if sender is not None:
                sender.end()
