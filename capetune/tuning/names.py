"""Under which names Ray's dashboard, and `ps`, show what Tune runs.

An actor's class is Trial or Job, its name that of the run with a number: it is a process, and may run several trials.
Each of its tasks is an epoch, named by the trial, with the epoch and the score so far; so is the process meanwhile.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import ray.tune.execution.tune_controller as tune_controller
from ray import tune
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.experiment import Trial
from ray.tune.trainable import wrap_function

from capetune.cluster.names import process_names

KINDS = ("Trial", "Job")  # classes of actors: of a search, of a promotion


def named_trainable(
    function: Callable[[dict[str, Any]], None], resources: dict[str, float], kind: str, title: Callable[[Any], str]
) -> type:
    """The class that Tune makes of a trainable function which reserves these resources, of a name of ours. title: gives
    what such an actor is shown as, by the configuration that it is started with."""

    class Named(wrap_function(tune.with_resources(function, resources))):  # type: ignore[misc]
        def __repr__(self) -> str:
            return title(self.config)

    Named.__name__ = Named.__qualname__ = kind
    return Named


@contextmanager
def actors_named(run: str) -> Iterator[None]:
    """Actors that Tune starts meanwhile have names. There is no setting: a private class of Tune's is replaced for the
    moment."""
    names = process_names(run)

    class Cache(_ActorClassCache):
        def get(self, trainable_cls: type) -> Any:
            named = copy.copy(super().get(trainable_cls))
            # In a namespace of the driver's own: in one that several share, two runs may be called alike.
            own = {"name": next(names), "namespace": f"capetune-{ray.get_runtime_context().get_job_id()}"}
            named._default_options = named._default_options | own
            return named

    private: Any = tune_controller
    before = private._ActorClassCache
    private._ActorClassCache = Cache
    try:
        yield
    finally:
        private._ActorClassCache = before


def name_epoch(trial: Trial, who: str, epoch: int, epochs: int, score: tuple[str, float] | None) -> None:
    """Name the epoch that a trial's process is to train next. who: the trial. score: the metric, and its best value in
    the epochs before."""
    said = "" if score is None else f", {score[0]} {score[1]:.3f} so far"
    name_task(trial, f"{who}: epoch {epoch} of {epochs}{said}" if epoch <= epochs else f"{who}: its end{said}")


def name_task(trial: Trial, name: str) -> None:
    """Name what Tune asks of a trial's process next."""
    actor: Any = trial.temporary_state.ray_actor
    if actor is not None:  # else its end is told of
        actor.train = _Task(weakref.ref(actor), name)


@dataclass(frozen=True)
class _Task:
    """Stands in an actor's handle for its method `train`, and calls that under a name. It keeps no hold of the handle,
    whose end is the actor's."""

    handle: weakref.ref
    name: str

    def remote(self, *args: Any, **given: Any) -> Any:
        handle = self.handle()
        assert handle is not None
        return type(handle).__getattr__(handle, "train").options(name=self.name).remote(*args, **given)
