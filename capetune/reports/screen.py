"""A person's view of a verb: live tables and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from functools import singledispatchmethod
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.text import Text

from capetune import events, trial_events
from capetune.reports.live import SearchView, TrainView
from capetune.reports.steering import steered_line
from capetune.reports.words import clock, share
from capetune.runs.times import notable
from capetune.tuning.goal import Goal

WAITING = {
    "imports": "loading {} …",
    "data": "making the built-in synthetic data set in {}, once",
    "opening": "opening {} …",
    "ray": "starting Ray …",
    "machines": "no machine of the cluster has a CPU: waiting for one. A cluster that grows brings it …",
    "memory": "measuring how much memory {} takes on a GPU …",
    "features": "computing features of {}, once",
    "workers": "starting the training's {} worker{s} …",
    "evaluation": "scoring …",
    "prediction": "predicting {} …",
    "serving": "starting the server of {} …",
    "export": "{} …",
    "steering": "waiting for {} to take it up …",
}


def waiting(event: events.StepBegan) -> str:
    """What is waited for, in words; of a newer capetune's step its name."""
    words = WAITING.get(event.step)
    return f"{event.step} …" if words is None else words.format(event.what, s="" if event.what == "1" else "s")


class Screen:
    """Hears a verb's events. A context manager; on leaving, nothing moves any more."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.shown: Status | Progress | SearchView | TrainView | None = None
        self.promoted_epochs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._show(None, error)

    def _show(
        self, what: Status | Progress | SearchView | TrainView | None, error: BaseException | None = None
    ) -> None:
        """Put it in place of what moved until now. An error leaves the last state in sight."""
        if self.shown is not None:
            self.shown.__exit__(None if error is None else type(error), error, None)
        self.shown = what
        if what is not None:
            what.__enter__()

    def _print(self, text: str) -> None:
        """A line that stays, not folded."""
        self.console.print(text, soft_wrap=True)

    def hear(self, event: events.Event) -> None:
        if isinstance(self.shown, Status):
            self._show(None)  # what was waited for is there
        self._hear(event)

    @singledispatchmethod
    def _hear(self, event: events.Event) -> None:
        """Others are for the tables and bars."""
        if isinstance(self.shown, SearchView | TrainView):
            self.shown.hear(event)

    @_hear.register
    def _(self, event: events.StepBegan) -> None:
        if isinstance(self.shown, SearchView | TrainView):
            return  # it says so itself
        words = waiting(event)
        if self.console.is_terminal:
            self._show(self.console.status(Text(words)))
        elif event.step != "evaluation":
            self._print(words)

    @_hear.register
    def _(self, event: events.Progress) -> None:
        if not self.console.is_terminal:
            return
        if not isinstance(self.shown, Progress):
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
            bar = Progress(*columns, console=self.console, transient=True)
            bar.add_task("", total=None)
            self._show(bar)
        assert isinstance(self.shown, Progress)
        unit = {"evaluation": "scoring", "features": "features, once", "prediction": "pictures"}.get(event.step, "")
        words = ", ".join(word for word in (unit, event.what) if word)
        self.shown.update(self.shown.task_ids[0], description=words, completed=event.done, total=event.total)
        if event.done == event.total:
            self._show(None)

    @_hear.register
    def _(self, event: events.StageBegan) -> None:
        self.console.rule(
            Text.assemble((event.stage, "bold"), f"  {clock(event.seconds)} since the start"), align="left"
        )

    @_hear.register
    def _(self, event: events.DataDescribed) -> None:
        missing = {part: names for part, names in event.missing_categories.items() if names}
        note = "; missing: " + "; ".join(f"{p} {', '.join(n)}" for p, n in missing.items()) if missing else ""
        what = f"data: {event.data}, split {event.split}, {event.train_instances} train instances{note}"
        self._print(f"{what}  {event.pack}")
        if event.mp100:
            self._print(event.mp100)

    @_hear.register
    def _(self, event: events.ClusterJoined) -> None:
        token = f" (token in {event.token})" if event.token else ""
        self._print(f"Ray: {event.cpus} CPUs, {event.gpus} GPUs; dashboard {event.dashboard}{token}")
        if event.token:
            self._print(f"look inside: capetune dashboard --ray --address {event.dashboard}")

    @_hear.register
    def _(self, event: events.CheckPassed) -> None:
        self._print(f"✓ {event.check}: {event.found}")

    @_hear.register
    def _(self, event: events.Doubted) -> None:
        self._print(f"warning: {event.why}")

    @_hear.register
    def _(self, event: events.PictureLeftOut) -> None:
        self._print(f"left out: {event.picture}: {event.why}")

    @_hear.register
    def _(self, event: trial_events.TrialChosen) -> None:
        note = "" if event.state == "completed" else f" ({event.state}: the best of the trials that ended)"
        self._print(f"trial {event.trial} of search {event.search}{note}, from scratch; {event.file}")
        if event.epochs is not None:
            epochs = f"{event.epochs} epoch{'s' * (event.epochs > 1)}"
            self._print(f"for {epochs}, as the search's trials: --set train.epochs=… trains longer")

    @_hear.register
    def _(self, event: events.StartChosen) -> None:
        what = "goes on to epoch" if event.longer else "its weights and its model; epochs, schedule and optimiser anew:"
        of = f"epoch {event.epoch}, trained on {event.pack}, split {event.split}"
        epochs = f"{event.epochs}" if event.longer else f"{event.epochs} epoch{'s' * (event.epochs > 1)}"
        self._print(f"from {event.checkpoint} ({of}): {what} {epochs}")

    @_hear.register
    def _(self, event: events.Stretched) -> None:
        rate = f"the learning rate, {event.rate:.3g} after epoch {event.done}, "
        rate += "stays" if event.rate == event.becomes else f"becomes {event.becomes:.3g} there"
        self._print(f"{event.epochs} epochs in place of {event.before}: {rate} ({event.schedule})")

    @_hear.register
    def _(self, event: events.EndedEarly) -> None:
        epochs = f"{event.stale} epoch{'s' * (event.stale > 1)}"
        self._print(f"no better for {epochs}: ended after epoch {event.epoch} (train.patience)")

    @_hear.register
    def _(self, event: events.CheckpointChosen) -> None:
        epoch = "" if event.epoch is None else f", epoch {event.epoch}"
        self._print(f"best checkpoint of the latest run: {event.checkpoint}{epoch}")

    @_hear.register
    def _(self, event: events.Serving) -> None:
        self._print(f"page, with its token: {event.link}")
        self._print(f"JSON: {event.url}api/predict, described at {event.url}openapi.json (Ctrl-C ends it)")

    @_hear.register
    def _(self, event: events.RunComplete) -> None:
        if event.trials is None:
            self._print(f"run {event.run} is complete already; --name starts another, --set train.epochs=… goes on")
        else:
            self._print(f"{event.run} is complete: {event.trials} trials; --trials with more extends it")

    @_hear.register
    def _(self, event: trial_events.SearchBegan) -> None:
        goal = Goal(event.metrics, event.modes)
        self._show(SearchView(self.console, event.trials, event.epochs, event.keys, goal))

    @_hear.register
    def _(self, event: events.TrainingBegan) -> None:
        if event.history:
            self._print(f"going on after epoch {event.history[-1]['epoch']:.0f}")
        self._show(TrainView(self.console, event.epochs, event.history))

    @_hear.register
    def _(self, event: events.PromotionBegan) -> None:
        self.promoted_epochs = event.epochs
        jobs = f"{event.jobs} job{'s' * (event.jobs > 1)}, {event.done} done already"
        self._print(f"{jobs}; one that was cut off goes on from its last epoch")
        self._print(f"{event.data} data, {event.protocol}, into {event.folder}")

    @_hear.register
    def _(self, event: events.JobChanged) -> None:
        told = [f"{count} shot{'s' * (count > 1)} {share(mpck4)}" for count, mpck4 in event.scores.items()]
        score = f", test mPCK4: {', '.join(told)}" if told else " without a score" if event.state == "ended" else ""
        self._print(f"{event.job}: {event.state}{score}")

    @_hear.register
    def _(self, event: events.EpochDone) -> None:
        if isinstance(self.shown, SearchView | TrainView):
            self.shown.hear(event)
        elif event.job is not None:
            words = [f"epoch {event.epoch}/{self.promoted_epochs}", f"val mPCK4 {share(event.metrics.get('mpck4'))}"]
            words += [slow] if (slow := notable(event.metrics)) else []
            self._print(f"{event.job}: running, {'  '.join(words)}")

    @_hear.register
    def _(self, event: events.WorkersCounted) -> None:
        workers = f"{event.workers} worker{'s' * (event.workers > 1)}"
        other = "" if event.batch == event.asked else f" instead of {event.asked}"
        self._print(f"training with {workers}, {event.batch} samples a step{other}")

    @_hear.register
    def _(self, event: events.WorkersBeganAgain) -> None:
        where = f"after epoch {event.epoch}" + (f", step {event.step}" if event.step else "")
        again = f"; about {event.repeated} steps are made again" if event.repeated else ""
        self._print(f"all workers begin again, {where}{again}")

    @_hear.register
    def _(self, event: events.StepsTraced) -> None:
        if event.first:
            steps = f"steps {event.first} to {event.last} of epoch {event.epoch}"
            self._print(f"traced: {steps}, in {event.path}; https://ui.perfetto.dev opens it")
        else:
            self._print(f"warning: epoch {event.epoch} has too few steps to trace any: nothing is written")

    @_hear.register
    def _(self, event: events.NodeLost) -> None:
        self._print(f"machine {event.node} is gone: what ran there is tried again elsewhere")

    @_hear.register
    def _(self, event: trial_events.TrialLost) -> None:
        self._print(f"trial {event.trial}: its process was lost; it goes on after epoch {event.epoch}")

    @_hear.register
    def _(self, event: trial_events.TrialSpared) -> None:
        whose = event.source or f"trial {event.twin}"
        self._print(f"trial {event.trial}: the configuration of {whose}: not trained again")

    @_hear.register
    def _(self, event: trial_events.TrialRefused) -> None:
        self._print(f"trial {event.trial}: {event.why}: not trained")

    @_hear.register
    def _(self, event: trial_events.SearchSteered) -> None:
        if isinstance(self.shown, SearchView):
            self.shown.trials = event.trials
        self._print(steered_line(event))

    @_hear.register
    def _(self, event: trial_events.NoMoreTrials) -> None:
        self._print(f"no more trials: {event.why}")

    @_hear.register
    def _(self, event: events.Ended) -> None:
        self._show(None, None if event.state == "completed" else KeyboardInterrupt())
        if event.state == "interrupted":
            self._print(f"go on with it: {event.again}")
