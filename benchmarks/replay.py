"""Searches replayed on recorded curves: the real samplers, schedulers and budget, with an epoch as the unit of time.

A configuration's curve is that of a surrogate fitted to the table (Gaussian radial basis functions, smoothed as
foretells best the points that it wasn't fitted to), and of every second one what chance does: it is worse by what one
recorded training was worse than another that differed in its seed only, of a point about as good. Which ones these are,
the configuration decides: asked again, it has the same curve.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from curves import TABLE
from foreseen import Foreseen
from optuna.distributions import FloatDistribution
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from scipy.interpolate import RBFInterpolator

from capetune.config import Config
from capetune.tuning.ending import Limit
from capetune.tuning.goal import Goal
from capetune.tuning.samplers import make_sampler
from capetune.tuning.schedulers import make_scheduler
from capetune.tuning.space import Budget, Space
from capetune.tuning.telling import tell_epochs

SMOOTHINGS = (0.001, 0.003, 0.01, 0.03, 0.1)
NEAR = 5  # of the pairs of seeds so many, the nearest in their score, tell what chance does there
PACE = 0.15  # deviation of the logarithm of a trial's seconds an epoch


class Surrogate:
    """Learning curves of any configuration of the table's space."""

    def __init__(self, space: Space, table: Path = TABLE) -> None:
        self.space = space
        rows = list(csv.DictReader(table.open()))
        epochs = [name for name in rows[0] if name.startswith("epoch_")]
        whole = [row for row in rows if all(row[name] for name in epochs)]
        self.diverged = len(rows) - len(whole)
        scores: dict[tuple[float, ...], list[list[float]]] = {self._key(row): [] for row in whole}
        for row in whole:
            scores[self._key(row)].append([float(row[name]) for name in epochs])
        self.points = np.array(list(scores))
        self.curves = np.array([max(curves, key=lambda curve: curve[-1]) for curves in scores.values()])  # (n, epochs)
        pairs = [sorted(curves, key=lambda curve: curve[-1]) for curves in scores.values() if len(curves) == 2]
        self.chance = np.array([np.subtract(worse, better) for worse, better in pairs])  # (pairs, epochs)
        self.paired = np.array([better[-1] for _, better in pairs])
        errors = {smoothing: self.left_out(smoothing) for smoothing in SMOOTHINGS}
        self.smoothing = min(errors, key=lambda smoothing: float((errors[smoothing][:, -1] ** 2).mean()))
        self.errors = errors[self.smoothing]
        self.fitted = self._fit(self.points, self.curves, self.smoothing)

    def left_out(self, smoothing: float) -> np.ndarray:
        """(n, epochs): each point's curve as all others foretell it, less its own."""
        found = []
        for place in range(len(self.points)):
            others = np.arange(len(self.points)) != place
            fitted = self._fit(self.points[others], self.curves[others], smoothing)
            found.append(fitted(self.points[place : place + 1])[0] - self.curves[place])
        return np.array(found)

    def curve(self, values: dict[str, Any]) -> np.ndarray:
        """(epochs,), with the chance of this configuration."""
        place = self._key(values)
        draw = np.random.default_rng(int(hashlib.sha256(repr(place).encode()).hexdigest()[:12], 16))
        fitted = self.fitted(np.array([place]))[0]
        near = np.argsort(abs(self.paired - fitted[-1]))[:NEAR]
        return fitted + self.chance[draw.choice(near)] * draw.integers(2)

    def _fit(self, points: np.ndarray, curves: np.ndarray, smoothing: float) -> RBFInterpolator:
        return RBFInterpolator(points, curves, kernel="gaussian", epsilon=1.0, degree=0, smoothing=smoothing)

    def _key(self, values: dict[str, Any]) -> tuple[float, ...]:
        """A configuration's place in the unit cube, logarithmic where its range is."""
        found = []
        for key, parameter in self.space.parameters.items():
            kind = parameter.distribution
            assert isinstance(kind, FloatDistribution)
            low, value, high = (math.log(x) if kind.log else x for x in (kind.low, float(values[key]), kind.high))
            found.append((value - low) / (high - low))
        return tuple(found)


@dataclass(eq=False)
class Replayed:
    """A trial as Tune has it, and its curve."""

    trial_id: str
    config: dict[str, Any]
    curve: np.ndarray
    pace: float
    status: str = Trial.PENDING
    epoch: int = 0
    is_saving: bool = False


@dataclass
class Replay:
    """A search, which stands for Tune's controller where its scheduler asks.

    As in Tune, a paused trial keeps its place among those that `places` allows, but for `asha promote`, which is ours.
    """

    space: Space
    config: Config
    surrogate: Surrogate
    places: int
    seed: int
    budget: int  # epochs
    promote: bool = False
    foresee: bool = False  # its sampler sees trials that haven't ended of themselves by an estimate
    trials: list[Replayed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.goal = Goal.of(self.space.header)
        sampler = make_sampler(self.space.header.sampler, self.seed)
        self.study = optuna.create_study(
            sampler=Foreseen(sampler) if self.foresee else sampler, directions=self.goal.directions
        )
        for point in self.space.points(self.config):
            self.study.enqueue_trial(point)
        self.draw = np.random.default_rng(self.seed)
        # The earlier epochs of its trials are in no folder.
        self.scheduler: Any = (
            Promoting(self.config.train.epochs, self.space.header.scheduler.factor)
            if self.promote
            else make_scheduler(self.space, self.config, Path("/nonexistent"))
        )
        self.limit = Limit(Budget(epochs=self.budget))

    def get_trials(self) -> list[Replayed]:
        return self.trials

    def get_live_trials(self) -> list[Replayed]:
        return [trial for trial in self.trials if trial.status != Trial.TERMINATED]

    def stop_trial(self, trial: Replayed) -> None:
        """Of a paused one, as the scheduler asks."""
        self.scheduler.on_trial_remove(self, trial)
        self._end(trial)

    def scores(self) -> Iterator[float]:
        """That of each epoch, in the order in which they end."""
        running: list[tuple[float, int, Replayed]] = []
        now = 0.0
        while not self.limit.stop_all():
            while len(running) < self.places and (trial := self._next(len(running))) is not None:
                trial.status = Trial.RUNNING
                heapq.heappush(running, (now + trial.pace, trial.config["number"], trial))
            if not running:
                return
            now, number, trial = heapq.heappop(running)
            trial.epoch += 1
            score = float(trial.curve[trial.epoch - 1])
            result = {"epoch": trial.epoch, self.goal.metric: score}
            self.limit(trial.trial_id, result)
            tell_epochs(self.study, number, [(trial.epoch, score)])
            decision = self.scheduler.on_trial_result(self, trial, result)
            if trial.epoch == len(trial.curve) or decision == TrialScheduler.STOP:
                self.scheduler.on_trial_complete(self, trial, result)
                self._end(trial)
            elif decision == TrialScheduler.PAUSE:
                trial.status = Trial.PAUSED
            else:
                heapq.heappush(running, (now + trial.pace, number, trial))
            yield score

    def _next(self, running: int) -> Replayed | None:
        chosen = self.scheduler.choose_trial_to_run(self)
        if chosen is not None:
            return chosen
        begun = running if self.promote else len(self.get_live_trials())
        if begun >= self.places:
            return None
        asked = self.study.ask()
        values = self.space.suggest(asked)
        pace = math.exp(self.draw.normal(0, PACE))
        config = {"number": asked.number, "overrides": values}
        trial = Replayed(str(asked.number), config, self.surrogate.curve(values), pace)
        self.trials.append(trial)
        self.scheduler.on_trial_add(self, trial)
        return self.scheduler.choose_trial_to_run(self)

    def _end(self, trial: Replayed) -> None:
        trial.status = Trial.TERMINATED
        number, best = trial.config["number"], float(trial.curve[: trial.epoch].max())
        if trial.epoch == len(trial.curve):
            self.study.tell(number, best)
        else:
            self.study.tell(number, state=optuna.trial.TrialState.PRUNED)


class Promoting(TrialScheduler):
    """ASHA as it was published (Li et al. 2020): a trial waits at each rung, and goes on when it is among the best of
    one in `factor` of those that have been there; a new one begins only where none is to go on."""

    def __init__(self, longest: int, factor: int) -> None:
        self.factor = factor
        self.rungs: list[tuple[int, dict[Replayed, float], set[Replayed]]] = []
        epoch = 1
        while epoch < longest:
            self.rungs.append((epoch, {}, set()))
            epoch *= factor
        self.pending: list[Replayed] = []

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self.pending.append(trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        for epoch, scores, _ in self.rungs:
            if result["epoch"] == epoch:
                scores[trial] = result["mpck4"]
                return TrialScheduler.PAUSE
        return TrialScheduler.CONTINUE

    def choose_trial_to_run(self, controller: Any) -> Any:
        if self.pending:
            return self.pending.pop()
        for _, scores, gone in reversed(self.rungs):
            best = sorted(scores, key=lambda trial: -scores[trial])[: len(scores) // self.factor]
            for trial in best:
                if trial not in gone:
                    gone.add(trial)
                    return trial
        return None

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        pass

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        pass

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        pass

    def debug_string(self) -> str:
        return "Promoting"
