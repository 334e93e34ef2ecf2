"""What a person sees while Ray works: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table


class SearchView:
    """Hears the events of `tuning.study.run_search`. A context manager."""

    def __init__(self, console: Console, trials: int, epochs: int, defaults: dict[str, Any]) -> None:
        """defaults: the values trial 0 has for the space's keys."""
        self.console = console
        self.epochs = epochs
        self.keys = list(defaults)
        self.rows: dict[int, dict[str, Any]] = {}
        self.bar = Progress(
            TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self.task = self.bar.add_task("trials", total=trials)
        self.live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> SearchView:
        if self.live:
            self.live.start()
            self.live.update(self._table())
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()

    def hear(self, event: dict[str, Any]) -> None:
        before = self.rows.get(event["trial"], {})
        row = {**event, "epoch": event["epoch"] or before.get("epoch") or 0}
        self.rows[event["trial"]] = row
        if event["state"] != "running":
            self.bar.advance(self.task)
        if self.live:
            self.live.update(self._table())
            return
        values = "  ".join(f"{key.rsplit('.', 1)[-1]}={short(value)}" for key, value in event["overrides"].items())
        score = "" if row["score"] is None else f"  best mPCK4 {row['score']:.3f}"
        note = f"  {event['error']}" if event["error"] else ""
        first = "" if event["trial"] else " (default)"
        if row["state"] == "running" and not row["epoch"]:
            score = "  started"
        self.console.print(
            f"trial {event['trial']}{first}: {row['state']}, epoch {row['epoch']}/{self.epochs}{score}  {values}{note}",
            soft_wrap=True,
            highlight=False,
        )

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for name in ("trial", "state", "epoch", "mPCK4", *(key.removeprefix("model.") for key in self.keys)):
            table.add_column(name, justify="left" if name == "state" else "right")
        best = max((row["score"] for row in self.rows.values() if row["score"] is not None), default=None)
        for number, row in sorted(self.rows.items()):
            colour = {"failed": "red", "pruned": "dim"}.get(row["state"], "")
            colour = "bold green" if best is not None and row["score"] == best else colour
            score = "–" if row["score"] is None else f"{row['score']:.3f}"
            values = [short(row["overrides"].get(key)) for key in self.keys]
            cells = [f"{number}", row["state"], f"{row['epoch']}/{self.epochs}", score, *values]
            table.add_row(*cells, style=colour)
        return Group(table, self.bar)


class TrainView:
    """Hears the events of `training.worker.train_worker`. A context manager."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self.epochs = epochs
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=None)
        self.begun = time.monotonic()

    def __enter__(self) -> TrainView:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def hear(self, event: dict[str, Any]) -> None:
        if "metrics" in event:
            m = event["metrics"]
            self.bar.console.print(
                f"epoch {m['epoch']:.0f}/{self.epochs}  {time.monotonic() - self.begun:.0f} s  "
                f"train loss {m['train_loss']:.3f} (tokens {m['train_tokens']:.3f}, "
                f"coordinates {m['train_coordinates']:.4f})  "
                f"val loss {m['val_loss']:.3f} (tokens {m['val_tokens']:.3f}, coordinates {m['val_coordinates']:.4f})  "
                f"val mPCK4 {m['mpck4']:.3f} (template {m['template_mpck4']:.3f})  PCK@0.2 {m['pck_0.2']:.3f}",
                soft_wrap=True,
                highlight=False,
            )
        else:
            steps = event["steps"]
            done = (event["epoch"] - 1) * steps + event["step"]
            self.bar.update(
                self.task,
                description=f"epoch {event['epoch']}/{self.epochs}" + (", validating" * (event["step"] == steps)),
                completed=done,
                total=self.epochs * steps,
            )


def short(value: Any) -> str:
    """A parameter's value for a table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
