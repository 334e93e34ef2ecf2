"""How many trials of a run are begun at a time, on a cluster that grows, shrinks and has other runs (decision 024)."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
import ray._private.state as cluster_state
from ray import tune
from ray.tune.experiment import Trial
from ray.util import placement_group_table

from capetune.cluster.head import answers, head_address
from capetune.tuning.names import KINDS
from capetune.tuning.preflight import Plan

LOOK = 2.0  # seconds between two looks at the cluster, where looking takes little
SPARING = 20  # times what a look took, between two: Ray lists the groups of all trials that ever were
TURN = 6.0  # seconds that another run has to take a place that was given up for it


@dataclass(frozen=True)
class Seen:
    """mine: trials of this run that have a place. others: of each other run on the cluster, likewise, 0 where it has
    none yet. waiting: whether one of the others waits for a place. free: places that nobody has."""

    mine: int
    others: tuple[int, ...]
    waiting: bool
    free: int

    @property
    def share(self) -> float:
        return (self.mine + sum(self.others) + self.free) / (1 + len(self.others))

    def most(self) -> int:
        """How many trials this run may have, running and waiting. While another run waits each has its share, rounded
        up; while none does, what is free is there for all, and one more trial waits in the queue: where a cluster can
        grow, it grows by what waits."""
        share = math.ceil(self.share)
        return max(1, share) if self.waiting else max(share, self.mine + self.free) + 1

    @property
    def over(self) -> bool:
        """Whether the next place that comes free here is another run's. Where one place is left over, or there are
        fewer than runs, they take turns."""
        return self.waiting and self.mine > math.floor(self.share)


def look(asked: Mapping[str, float], workers: int) -> Seen:
    """Some milliseconds' work, and 40 more for each thousand of trials before. asked: what each of a trial's workers
    reserves.

    A trial, and a training, has a placement group, which waits where there is no place; whose it is, its id ends with.
    A training that wants more than a share isn't waited for: places would stand empty for as long as it waits.
    """
    mine = ray.get_runtime_context().get_job_id()
    actors = cluster_state.actors(actor_state_name="ALIVE").values()
    runs = {mine, *(actor["JobID"] for actor in actors if actor["ActorClassName"] in KINDS)}
    held: Counter[str] = Counter()
    waiting: dict[str, int] = {}
    for number, group in placement_group_table().items():
        job, wanted = number[-8:], sum(bool(bundle.keys() & {"CPU", "GPU"}) for bundle in group["bundles"].values())
        if group["state"] == "CREATED" and wanted and job in runs:
            held[job] += 1
        elif group["state"] in ("PENDING", "RESCHEDULING") and wanted:
            waiting[job] = wanted
    nodes = cluster_state.state.available_resources_per_node().values()
    rooms = (min(int(node.get(name, 0.0) / each + 1e-6) for name, each in asked.items()) for node in nodes)
    free = sum(rooms) // workers
    share = max(1, (held.total() + free) // (len(runs) + 1)) * workers
    others = (runs | {job for job, wanted in waiting.items() if wanted <= share}) - {mine}
    return Seen(held[mine], tuple(held[job] for job in others), bool(others & waiting.keys()), free)


@dataclass
class Room:
    """Of a run's trials. ours: whether Ray was started for it alone, which has the same room from beginning to end.
    at_once: what is asked for, None: as many as there is room for."""

    plan: Plan
    ours: bool
    at_once: int | None = None
    over: bool = field(default=False, init=False)  # as `Seen` has it
    _most: int = field(default=1, init=False)
    _next: float = field(default=-math.inf, init=False)  # look
    _gave: float = field(default=-math.inf, init=False)

    def most(self) -> int:
        """Trials that may be begun, running and waiting ones together."""
        if self.ours:
            return self.plan.at_once
        begun = time.monotonic()
        if begun > self._next and answers(head_address()):
            seen = look(self.plan.reserved, self.plan.workers)
            self._next = begun + max(LOOK, SPARING * (time.monotonic() - begun))
            self.over = seen.over
            if self.at_once is None:
                self._most = seen.most()
            else:
                self._most = min(seen.most(), self.at_once) if seen.waiting else self.at_once
        return self._most

    def full(self, begun: int) -> bool:
        """Whether a run that has begun so many trials begins no more for now."""
        return begun >= self.most()

    @property
    def giving(self) -> bool:
        """Whether it is another run's turn."""
        return time.monotonic() - self._gave < TURN

    def ended(self) -> None:
        """A trial has: it may be another run's turn."""
        if self.over:
            self._gave = time.monotonic()


class GivesWay(tune.Callback):
    """While a place is another run's turn, ends the process that Tune would keep for the next trial, and lets it begin
    none. Ends a trial, and asks for more, where somebody wants it. Tune has no setting for any of these. scheduler: the
    one that it is given, which is shown Tune's controller."""

    def __init__(self, scheduler: Any, room: Room) -> None:
        self.room = room
        self.controller: Any = None
        choose = scheduler.choose_trial_to_run

        def chosen(controller: Any) -> Any:
            self.controller = controller._tune_controller
            return choose(controller)

        scheduler.choose_trial_to_run = chosen

    def __getstate__(self) -> dict:
        return {}  # Tune pickles callbacks with its own state

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.room.most()  # looks, where Tune asks for no more trials too
        if self.controller is None or self.room.ours:
            return
        if self.room.over:
            self.controller._cleanup_cached_actors(force_all=True)
        self.controller.update_max_pending_trials()
        if self.room.giving:
            self.controller._max_pending_trials = 0

    def reopen(self) -> None:
        """Have Tune ask for trials again though it was told that there are no more."""
        if self.controller is not None:
            self.controller._search_alg._finished = False

    def end(self, trial: Trial) -> None:
        """End a trial that runs or is paused at once, and its process with it: that is in the middle of an epoch, which
        the next trial in it would have to wait for. One that waits for its place is left until it runs."""
        controller = self.controller
        if controller is None or trial.status not in (Trial.RUNNING, Trial.PAUSED):
            return
        actor = controller._trial_to_actor.get(trial)
        controller._reuse_actors, reuses = False, controller._reuse_actors
        controller.stop_trial(trial)
        controller._reuse_actors = reuses
        if actor is not None:
            controller._actor_manager.remove_actor(actor, kill=True)
