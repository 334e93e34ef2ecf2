"""Every epoch's metrics as TensorBoard reads them: `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scalars(folder: Path) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Gives a function that writes an epoch's metrics into an event file of `folder`, within about a second."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder), flush_secs=1) as writer:

        def write(metrics: Mapping[str, float]) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, int(metrics["epoch"]))

        yield write
