"""What the driver does while trials run: listen, say, and settle those that end."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
from ray import tune
from ray.tune.experiment import Trial

from capetune.cluster.head import HeadLost
from capetune.errors import UserError
from capetune.events import CheckpointKept, Doubted, EpochDone, Event, Listener, NodeLost
from capetune.runs.checkpoints import keep_checkpoints
from capetune.runs.diary import write_event
from capetune.runs.failures import ERROR, failure
from capetune.runs.history import add_to_history, finished, read_history
from capetune.runs.results import UNSCORED, Status, TrialResult, save_result, trial_folder, trial_name
from capetune.storage.hold import free
from capetune.storage.lease import Superseded
from capetune.storage.scratch import address_of
from capetune.training.loop import Metrics
from capetune.trial_events import TrialEnded, TrialLost, TrialStarted
from capetune.tuning.ending import Limit
from capetune.tuning.limits import known_excess, measured_excess, over
from capetune.tuning.names import name_epoch
from capetune.tuning.repeats import best_of, histories, repeated_epochs, whole
from capetune.tuning.search import Search
from capetune.tuning.telling import tell, tell_epochs
from capetune.tuning.trial import Away, DiskFull
from capetune.tuning.twins import Twins
from capetune.tuning.warm import Earlier

ARRIVAL = 120.0  # seconds that the last epoch of a trial may take to a store
SPARING = 20  # times what the writing of all results took, between two
Keep = Callable[[list[TrialResult]], None]


class Watcher(tune.Callback):
    """Keeps what becomes of every trial: its result in its folder, its value in the study, an event for who listens."""

    def __init__(
        self,
        search: Search,
        study: optuna.Study,
        earlier: list[TrialResult],
        limit: Limit,
        listener: Listener,
        keep: Keep,
        lost_nodes: Callable[[], list[str]] = list,
        warm: Mapping[int, Earlier] | None = None,
    ) -> None:
        """lost_nodes: names of the machines that the cluster has lost since it was last asked. warm: trials of the
        study that other searches trained."""
        self.search = search
        self.study = study
        self.limit = limit
        self.listener = listener
        self.keep = keep
        self.lost_nodes = lost_nodes
        self.ending: list[Trial] = []
        self.heard: dict[int, tuple[int, float]] = {}  # of an ended trial: how many epochs, and since when it is over
        self.ended = {result.number: result for result in earlier}
        self.halted: set[int] = set()  # trials that the user wants to end
        self.unspared = set(self.ended)  # ended trials that may have checkpoints
        self.written = -math.inf, 0.0  # when all results were, and how long it took
        self.twins = Twins(search, study, self.ended, warm)

    def __getstate__(self) -> dict:
        return {}  # Tune pickles callbacks with its own state; a live display can't be

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        facts = self._facts(trial.config["number"], dict(trial.config["overrides"]))
        self._name(trial, facts)
        self.say(TrialStarted(**facts))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        tell_epochs(self.study, trial.config["number"], [(int(result["epoch"]), result[self.search.goal.metric])])
        number, row = trial.config["number"], json.loads(result["row"])
        if address_of(self.search.folder):  # what the trial's machine sends is still on its way
            add_to_history(trial_folder(self.search.folder, number), row)
        if result.get("trouble"):
            self.say(Doubted(result["trouble"]))
        facts = self._facts(number, dict(trial.config["overrides"]))
        self._name(trial, facts)
        self.say(EpochDone(**facts, metrics=row))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.ending.append(trial)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its process was lost; Tune starts it once more."""
        number = trial.config["number"]
        epoch = self._facts(number, dict(trial.config["overrides"]))["epoch"]
        self.say(TrialLost(self.search.folder.name, number, epoch))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.ending.append(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Only now a lost trial has its error."""
        for node in self.lost_nodes():
            self.say(NodeLost(node))
        told = [trial for trial in self.ending if trial.status != Trial.ERROR or trial.get_error()]
        for trial in [trial for trial in told if self._arrived(trial)]:
            self.ending.remove(trial)
            self._end(trial)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        left = self.ending
        if isinstance(sys.exc_info()[1], KeyboardInterrupt | HeadLost):  # it ended their processes: they go on later
            left = [trial for trial in left if trial.status != Trial.ERROR]
        if self.limit.stop_all():  # of those that it cuts off, Tune doesn't tell
            left = left + [trial for trial in trials if trial not in left and trial.config["number"] not in self.ended]
        while left and not self.limit.no_place:
            if self._arrived(left[0]):
                self._end(left.pop(0))
            else:
                time.sleep(1)
        if not self.limit.no_place:
            self._keep(self.results(), at_once=True)

    def results(self) -> list[TrialResult]:
        """Every trial that ended, best first, failed ones last."""
        return sorted(self.ended.values(), key=self.search.goal.place)

    def over(self) -> str | None:
        """Why nothing more is worth a trial, though the budget isn't spent."""
        stale = self.search.budget.stale
        ended = [] if stale is None else [result for result in self.results() if result.eligible]
        if stale is None or not ended or sum(result.number > ended[0].number for result in ended) < stale:
            return None
        return f"none of {stale} since is better than trial {ended[0].number} (budget: stale)"

    def _arrived(self, trial: Trial) -> bool:
        """Whether all is here that an ended trial leaves: of a run at an address, its machine is still sending it."""
        number = trial.config["number"]
        folder = trial_folder(self.search.folder, number)
        if not address_of(self.search.folder):
            return number not in self.halted or free(folder)  # its process may live for a moment
        epochs, since = self.heard.setdefault(number, (len(read_history(folder)), time.monotonic()))
        try:
            self.search.fetch(trial_name(number))
        except UserError as error:
            self.limit.away = str(error)
            return False
        lost = trial.status == Trial.ERROR or time.monotonic() - since > ARRIVAL
        if len(read_history(folder)) < epochs and not lost:
            return False
        del self.heard[number]
        return True

    def _end(self, trial: Trial) -> None:
        lost = None
        if trial.status == Trial.ERROR:
            lost = re.sub(r"\x1b\[[0-9;]*m", "", str(trial.get_error() or "its process was lost")).strip()
            if DiskFull.__name__ in lost:
                self.limit.full = True  # the trial stays open
                return
            if away := re.search(rf"\b{Away.__name__}: (.*)", lost):
                self.limit.away = away[1]
                return
        self.settle(trial.config["number"], dict(trial.config["overrides"]), lost)

    def settle(self, number: int, overrides: dict[str, Any], lost: str | None = None) -> None:
        """Keep how a trial ended, as its folder tells. lost: what Ray says of its process, where that was lost."""
        folder = trial_folder(self.search.folder, number)
        history = read_history(folder)
        lost = None if number in self.halted else lost
        cut = lost is None and number not in self.halted and self.limit.stop_all()
        if cut and not history and not (folder / ERROR).is_file():
            return  # the budget was spent before its first epoch: it stays open
        result = self._result(number, overrides, history, lost)
        self.limit.ended(result.error if result.status == "failed" else None)
        self.limit.spent += repeated_epochs(self.search, folder)
        first = number == 0 and result.status == "failed" and lost is None
        if first and all(other.score is None for other in self.ended.values()):
            self.limit.ended_first(str(result.error))
        self.ended[result.number] = result
        if result.status != "stopped":  # else it stays open, to go on
            save_result(self.search.folder, result)
            tell(self.study, result, self.search.goal)
        self.unspared.add(number)
        results = self.results()
        self._spare(results)
        self._keep(results)
        facts = self._facts(number, overrides, scored=result.status not in UNSCORED) | {"score": result.score}
        if result.checkpoint is not None:
            path = str(self.search.folder / result.checkpoint)
            self.say(CheckpointKept(self.search.folder.name, int(result.metrics["epoch"]), path, number))
        self.say(TrialEnded(**facts, status=result.status, error=result.error, over=over(result.excess)))

    def _spare(self, results: list[TrialResult]) -> None:
        """Keep the checkpoints of the best trials; remove those of the others that have ended for good."""
        scored = (result.number for result in results if result.status != "stopped")
        best = set(itertools.islice(scored, self.search.kept))
        for number in self.unspared - best:
            result = self.ended[number]
            if result.status == "stopped":
                continue
            for path in trial_folder(self.search.folder, number).glob("epoch-*"):
                shutil.rmtree(path)
            if result.checkpoint is not None:
                self.ended[number] = replace(result, checkpoint=None)
                save_result(self.search.folder, self.ended[number])
            self.unspared.discard(number)

    def _keep(self, results: list[TrialResult], at_once: bool = False) -> None:
        """Have all results written, which of thousands takes seconds: for a twentieth of the time at most, and at once
        when the search ends."""
        ended, took = self.written
        if self.ended and (at_once or time.monotonic() - ended >= SPARING * took):
            begun = time.monotonic()
            self.keep([self.ended[result.number] for result in results])
            self.written = time.monotonic(), time.monotonic() - begun

    def _result(self, number: int, overrides: dict[str, Any], history: list[Metrics], lost: str | None) -> TrialResult:
        folder, goal = trial_folder(self.search.folder, number), self.search.goal
        silent = not history and number not in self.halted
        why = failure(folder, self.search.folder, lost or ("it ended without a result" if silent else None))
        status: Status = "pruned"
        if why:
            status = why.pop("status")
        elif whole(self.search, folder, history):
            status = "completed"
        elif number in self.halted:
            status = "halted"
        elif self.limit.stop_all():
            status = "stopped"
        seeds = [history, *histories(self.search, folder)] if status == "completed" else [history]
        best, scores = best_of(goal, seeds) if history and not why else ({}, [])
        found = None if why else keep_checkpoints(folder, goal.metric, goal.modes[0], status == "stopped")
        config_hash, limits = self.twins.hash(overrides), self.search.space.header.constraints
        return TrialResult(
            number=number,
            overrides=overrides,
            status=status,
            score=best.get(goal.metric),
            metrics=best,
            history=[(int(metrics["epoch"]), metrics[goal.metric]) for metrics in history],
            seconds=sum(metrics["seconds"] for each in seeds for metrics in each),
            config_hash=config_hash,
            checkpoint=str(found.relative_to(self.search.folder)) if found else None,
            twin=self.twins.first(number, config_hash),
            seeds=scores,
            excess=known_excess(limits, self.search.config, overrides)
            | measured_excess(limits, next(iter(history), {})),
            **why,
        )

    def say_earlier(self) -> None:
        """Let the listener know of the trials that ended before."""
        for result in self.ended.values():
            self.listener(
                TrialEnded(
                    self.search.folder.name,
                    result.number,
                    result.status,
                    result.overrides,
                    result.epochs,
                    result.score,
                    result.template,
                    result.twin,
                    result.error,
                    earlier=True,
                    over=over(result.excess),
                )
            )

    def _facts(self, number: int, overrides: dict[str, Any], scored: bool = True) -> dict[str, Any]:
        """What every event of a trial says: how far it is, and its best epoch, which one without a score has not."""
        history = read_history(trial_folder(self.search.folder, number))
        best = self.search.goal.best(history) if scored else {}
        return {
            "run": self.search.folder.name,
            "trial": number,
            "overrides": overrides,
            "epoch": finished(history),
            "score": best.get(self.search.goal.metric),
            "template": best.get("template_mpck4"),
            "twin": self.twins.first(number, self.twins.hash(overrides)),
        }

    def _name(self, trial: Trial, facts: dict[str, Any]) -> None:
        score = None if facts["score"] is None else (self.search.goal.metric, facts["score"])
        who = f"Trial {facts['trial']} of {facts['run']}"
        name_epoch(trial, who, facts["epoch"] + 1, self.search.config.train.epochs, score)

    def say(self, event: Event) -> None:
        write_event(self.search.folder, event)
        try:
            self.listener(event)
        except Superseded as error:
            self.limit.away = str(error)
