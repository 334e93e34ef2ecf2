from __future__ import annotations

import time

from capetune.training.tensorboard import scalars


def test_an_epoch_s_metrics_are_in_an_event_file(tmp_path):
    with scalars(tmp_path) as write:
        write({"epoch": 1, "mpck4": 0.25, "val_loss": 2.0})
        write({"epoch": 2, "mpck4": 0.5, "val_loss": 1.0})
    (file,) = tmp_path.glob("events.out.tfevents.*")
    content = file.read_bytes()
    assert content.count(b"mpck4") == 2
    assert content.count(b"val_loss") == 2


def test_what_was_written_is_there_before_the_end(tmp_path):
    """A trial may be killed at any time."""
    with scalars(tmp_path) as write:
        write({"epoch": 1, "mpck4": 0.25})
        (file,) = tmp_path.glob("events.out.tfevents.*")
        until = time.monotonic() + 60
        while b"mpck4" not in file.read_bytes():
            assert time.monotonic() < until
            time.sleep(0.1)
