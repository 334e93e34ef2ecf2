"""What a running search is asked for from outside, by `runs.steering`: more points, trials to end, another goal.

The requests' files are the truth. A point is begun once, for its trial says which one it is; to end a trial twice ends
it once; and the goal stands in the run's record, with the number of the request that set it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import optuna
from ray import tune
from ray.tune.experiment import Trial

from capetune.errors import UserError
from capetune.events import Doubted
from capetune.runs.steering import FOLDER, Requests, Steer
from capetune.storage.scratch import address_of
from capetune.trial_events import SearchSteered
from capetune.tuning.room import GivesWay
from capetune.tuning.searcher import StudySearcher
from capetune.tuning.space import Budget
from capetune.tuning.twins import ADDED, begun, due
from capetune.tuning.watcher import Watcher

LOOK, FAR = 1.0, 5.0  # seconds between two looks: into a folder, at an address
Noted = Callable[[int, int], None]


class Steering(tune.Callback):
    """Of one sitting of a search. goal: how many trials there are to be now. points: those to be tried next, by their
    names."""

    def __init__(self, watcher: Watcher, noted: Noted, taken: int, fixed: bool) -> None:
        """noted: keeps the goal and the number of the latest request that was taken. taken: that of earlier sittings.
        fixed: whether the goal of this sitting was asked for after all requests that are there."""
        self.watcher = watcher
        self.search = watcher.search
        self.noted = noted
        self.taken = taken
        self.requests = Requests.of(self.search.folder)
        assert self.search.budget.trials is not None
        self.goal = self.search.budget.trials
        self.points: dict[str, dict[str, Any]] = {}
        self.news: SimpleQueue[tuple[int, Steer | None]] = SimpleQueue()
        self.known = {trial.user_attrs.get(ADDED) for trial in self.study.get_trials(deepcopy=False)}
        for number, steer in self.requests.news():
            self._take(number, steer, fixed)

    def __getstate__(self) -> dict:
        return {}  # Tune pickles callbacks with its own state

    @property
    def study(self) -> optuna.Study:
        return self.watcher.study

    @property
    def due(self) -> int:
        """How many trials are to be begun yet."""
        return due(self.study, self.budget)

    @property
    def budget(self) -> Budget:
        return self.search.budget.model_copy(update={"trials": self.goal})

    def next_point(self) -> tuple[str, dict[str, Any]] | None:
        """The next one to be tried, with its name, each once."""
        name = next(iter(self.points), None)
        return None if name is None else (name, self.points.pop(name))

    @contextmanager
    def listening(self, searcher: StudySearcher, hand: GivesWay) -> Iterator[None]:
        """Take up what comes meanwhile. hand: whose controller ends trials."""
        self.searcher, self.hand = searcher, hand
        ended = threading.Event()
        every = LOOK if address_of(self.search.folder) is None else FAR

        def look() -> None:
            while not ended.wait(every):
                with contextlib.suppress(UserError):  # the store is away, which others say
                    for found in self.requests.news():
                        self.news.put(found)

        threading.Thread(target=look, daemon=True, name="steering").start()
        try:
            yield
        finally:
            ended.set()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        while not self.news.empty():
            if self._take(*self.news.get()):
                self.searcher.wanted(self.due)
                self.hand.reopen()
        if self.watcher.halted - self.watcher.ended.keys():
            for trial in trials:
                if trial.config["number"] in self.watcher.halted and not trial.is_finished():
                    self.hand.end(trial)

    def _take(self, number: int, steer: Steer | None, fixed: bool = False) -> bool:
        """Whether other trials are wanted now. In an order in which a search that is killed in between takes it whole
        when it goes on."""
        if steer is None:
            where = f"request {number} in {self.search.folder / FOLDER}"
            self.watcher.say(Doubted(f"{where} is damaged: it is passed over"))
            return False
        before, added = self.goal, dict(self._new(number, steer))
        self.points |= added
        self.known |= added.keys()
        self.watcher.halted |= set(steer.stop)
        if number <= self.taken:
            return bool(added)
        if not fixed:
            room = len(begun(self.study)) + len(self.points) if added else 0
            self.goal = max(self.goal, room) if steer.trials is None else steer.trials
        self.taken = number
        self.noted(self.goal, number)
        run, waiting = self.search.folder.name, max(0, len(self.points) - self.due)
        self.watcher.say(SearchSteered(run, number, len(added), steer.stop, self.goal, before, waiting))
        return bool(added) or self.goal != before

    def _new(self, number: int, steer: Steer) -> Iterator[tuple[str, dict[str, Any]]]:
        """A request's points that no trial is yet, but those that lie outside a space that was narrowed since."""
        for place, point in enumerate(steer.points, start=1):
            name = f"{number}.{place}"
            try:
                if name not in self.known:
                    yield name, self.search.space.filled(point, self.search.config)
            except UserError as error:
                self.watcher.say(Doubted(f"the {place}. point of request {number} isn't tried: {error}"))
