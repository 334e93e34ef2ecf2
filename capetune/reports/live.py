"""What a person sees while Ray works: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from capetune.events import EpochDone, Event, StepsDone
from capetune.reports.words import clock, share, short, tails
from capetune.runs.metrics import title
from capetune.runs.times import notable
from capetune.trial_events import TrialEnded, TrialStarted
from capetune.tuning.goal import Goal

STYLES = {"failed": "red", "diverged": "red", "pruned": "dim", "halted": "dim", "stopped": "dim"}


class SearchView:
    """Hears of trials. A context manager."""

    def __init__(self, console: Console, trials: int, epochs: int, keys: Sequence[str], goal: Goal) -> None:
        """keys: the space's, in order."""
        self.console = console
        self.goal = goal
        self.trials = trials
        self.epochs = epochs
        self.labels = dict(zip(keys, tails(keys), strict=True))
        self.rows: dict[int, dict[str, Any]] = {}
        self.begun = time.monotonic()
        self.live = (
            Live(console=console, get_renderable=self.render, auto_refresh=True) if console.is_terminal else None
        )

    def __enter__(self) -> SearchView:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if self.live:
            self.live.transient = kind is None  # a table of the results follows, unless something went wrong
            self.live.stop()

    def hear(self, event: Event) -> None:
        row = self._row(event)
        if row is None:
            return
        self.rows[row["trial"]] = row
        if not self.live and not row["earlier"]:
            self.console.print(self.line(row), soft_wrap=True)

    def _row(self, event: Event) -> dict[str, Any] | None:
        """What the table shows of a trial from now on; None where the event is about none."""
        if not isinstance(event, TrialStarted | EpochDone | TrialEnded):
            return None
        row = {"state": "running", "error": None, "earlier": False, **event.to_json()}
        row["state"] = row.get("status", "running")
        now = time.monotonic()
        known = self.rows.get(row["trial"], {"begun": now})
        return row | {"begun": known["begun"], "heard": now}

    def line(self, row: dict[str, Any]) -> str:
        """A trial in words, for a log. The values stand where it starts and where it ends."""
        words = [f"trial {row['trial']}{'' if row['trial'] else ' (default)'}:"]
        begins = row["state"] == "running" and not row["epoch"]
        words += ["started"] if begins else [f"{row['state']}, epoch {row['epoch']}/{self.epochs}"]
        if row["score"] is not None:
            template = f" (template {row['template']:.3f})" if self.goal.metric == "mpck4" else ""
            words.append(f" best {title(self.goal.metric)} {row['score']:.3f}{template}")
        if begins or row["state"] != "running":
            words.append(" " + "  ".join(f"{self.labels[k]}={short(v)}" for k, v in row["overrides"].items()))
        if row["twin"] is not None:
            words.append(f" the same configuration as trial {row['twin']}")
        return " ".join([*words, *(f" {row[name]}" for name in ("error", "over") if row.get(name))])

    def render(self) -> Group:
        """The table: running trials, then ended ones from the best down, as many as fit; progress; the best."""
        rows = dict(self.rows)
        can_be = [row for row in rows.values() if row["score"] is not None and not row.get("over")]
        best = max(can_be, key=self._rank, default=None)
        running = [row for row in rows.values() if row["state"] == "running"]
        ended = sorted((row for row in rows.values() if row["state"] != "running"), key=self._rank, reverse=True)
        shown = [*running, *ended][: max(3, self.console.height - 6)]
        table = self._table(shown, best, bars=True)
        if self.console.measure(table).maximum > self.console.width:
            table = self._table(shown, best, bars=False)
        return Group(table, Text(), self._progress(rows), self._words(best, len(rows) - len(shown)))

    def _table(self, rows: list[dict[str, Any]], best: dict[str, Any] | None, bars: bool) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("trial", "state", "epoch", *[""] * bars, "time", title(self.goal.metric), "template"):
            table.add_column(name, justify="left" if name in ("state", "") else "right", no_wrap=True)
        for name in self.labels.values():  # the first to be cut where the terminal is narrow
            table.add_column(name, justify="right", overflow="ellipsis")
        for row in rows:
            state = Text(row["state"] if row["error"] is None else f"{row['state']}: {row['error']}")
            if row["twin"] is not None:
                state.append(f" = {row['twin']}", "bold yellow")
            state.truncate(24, overflow="ellipsis")
            until = time.monotonic() if row["state"] == "running" else row["heard"]
            table.add_row(
                f"{row['trial']}{'★' if row is best else ' '}",
                state,
                f"{row['epoch']}/{self.epochs}",
                *[ProgressBar(total=self.epochs, completed=row["epoch"], width=10)] * bars,
                clock(until - row["begun"]),
                *(share(row[name]) for name in ("score", "template")),
                *(short(row["overrides"].get(key)) for key in self.labels),
                style="bold green" if row is best else STYLES.get(row["state"], ""),
            )
        return table

    def _progress(self, rows: dict[int, dict[str, Any]]) -> Table:
        running = sum(row["state"] == "running" for row in rows.values())
        done = sum(row["epoch"] / self.epochs if row["state"] == "running" else 1 for row in rows.values())
        elapsed = time.monotonic() - self.begun
        left = f", at most {clock(elapsed * (self.trials / done - 1))} left" if done else ""
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=self.trials, completed=done, width=30)
        line.add_row(bar, f"{len(rows) - running}/{self.trials} trials", f"{clock(elapsed)}{left}")
        return line

    def _words(self, best: dict[str, Any] | None, hidden: int) -> Text:
        counts = Counter(row["state"] for row in list(self.rows.values()))
        text = Text("no trial has finished an epoch yet" if best is None else "")
        if best is not None:
            text.append(f"best: trial {best['trial']}, {title(self.goal.metric)} {best['score']:.3f}", "bold green")
            if self.goal.metric == "mpck4":
                text.append(f", {best['score'] - best['template']:+.3f} to the template")
        states = [
            f"{counts[s]} {s}"
            for s in ("running", "completed", "pruned", "halted", "stopped", "diverged", "failed")
            if counts[s]
        ]
        text.append(f"   {', '.join(states)}" + (f"; {hidden} not shown" if hidden else ""), "dim")
        return text

    def _rank(self, row: dict[str, Any]) -> float:
        return -math.inf if row["score"] is None else self.goal.rank(row["score"])


class TrainView:
    """Hears of steps and epochs. A context manager."""

    def __init__(self, console: Console, epochs: int, history: Sequence[Mapping[str, float]] = ()) -> None:
        """history: the metrics of the epochs that were finished before."""
        self.console = console
        self.epochs = epochs
        self.best = max((row["mpck4"] for row in history), default=-1.0)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("starting the workers", total=None, note="")
        self.begun = time.monotonic()
        self.slow = ""  # what else than learning took much of the latest epoch
        self.first: tuple[float, int] | None = None  # when the first step was heard of, and which it was

    def __enter__(self) -> TrainView:
        self.bar.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self.bar.live.transient = kind is None
        self.bar.stop()

    def hear(self, event: Event) -> None:
        if isinstance(event, EpochDone):
            best = event.metrics["mpck4"] > self.best
            self.best = max(self.best, event.metrics["mpck4"])
            self.slow = notable(event.metrics)
            line = "  ".join(filter(None, [self.line(event.metrics), self.slow, "best" * best]))
            self.console.print(line, style="green" if best else None, soft_wrap=True)
        elif isinstance(event, StepsDone):
            self._advance(event)

    def _advance(self, event: StepsDone) -> None:
        steps, total = event.steps, event.steps * self.epochs
        done, now = (event.epoch - 1) * steps + event.step, time.monotonic()
        self.first = self.first or (now, done)
        each = (now - self.first[0]) / max(1, done - self.first[1])
        left = f"about {clock(each * (total - done))} left" if each else ""
        self.bar.update(
            self.task,
            description=f"epoch {event.epoch}/{self.epochs}" + (", validating" if event.step == steps else ""),
            completed=done,
            total=total,
            note=", ".join(filter(None, [f"{done}/{total} steps", left, self.slow])),
        )

    def line(self, m: Mapping[str, float]) -> str:
        """An epoch in one line."""
        losses = "  ".join(
            f"{name} {m[f'train_{name}']:.{digits}f}/{m[f'val_{name}']:.{digits}f}"
            for name, digits in (("loss", 3), ("tokens", 3), ("coordinates", 4))
        )
        elapsed = clock(time.monotonic() - self.begun)
        return (
            f"epoch {m['epoch']:.0f}/{self.epochs} after {elapsed}  val mPCK4 {m['mpck4']:.3f} (template "
            f"{m['template_mpck4']:.3f}, teacher-forced {m['forced_mpck4']:.3f})  PCK@.2 {m['pck_0.2']:.3f}  "
            f"train/val {losses}"
        )
