"""Demo: the whole way on the built-in synthetic data, made of the other verbs."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from capetune.cluster.session import ray_cluster
from capetune.config import load_config, load_preset
from capetune.evaluation.report import EvalReport
from capetune.events import Listener, StageBegan, ignore
from capetune.service import evaluate, search, train
from capetune.service.evaluate import EvaluateRequest
from capetune.service.features import FOLDER
from capetune.service.request import Count, Request, Settings
from capetune.service.search import SearchRequest
from capetune.service.steps import open_data
from capetune.service.train import TrainRequest
from capetune.storage.whole import write_aside

TRIALS = 4
COPIES = 1  # of each train instance: the whole demo sees each about twice
SHORT = {"epochs": 2, "steps": 50, "warmup": 20}  # of the search's trials


def _full() -> dict[str, int]:
    """The best one's loss weights and depth are trained on the preset's own schedule."""
    preset = load_preset("demo").train
    assert preset.steps is not None
    return {"epochs": preset.epochs, "steps": preset.steps, "warmup": preset.warmup}


class DemoRequest(Request):
    """set: over the preset. short, full: keys of `train` for the search and for its best; full None: the preset's.
    episodes, queries: of the evaluation."""

    verb: Literal["demo"] = "demo"
    data: str = "synthetic"
    runs: Path = Path("runs")
    set: Settings = ()
    short: dict[str, int] = SHORT
    full: dict[str, int] | None = None
    episodes: Count = 3
    queries: Count = 15
    verbose: bool = False


@dataclass(frozen=True)
class DemoResult:
    """seconds: stage → what it took. report: of the model on categories it never saw, beside the template."""

    search: Path
    checkpoint: Path
    report: EvalReport
    file: Path
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        where = {"search": str(self.search), "checkpoint": str(self.checkpoint)}
        return {**self.report.to_json(), **where, "seconds": self.seconds}


def run(request: DemoRequest, listener: Listener = ignore) -> DemoResult:
    """Make data, pack, search, train the best, evaluate on unseen categories. Raises as the verbs do."""
    clock = _Clock(listener)
    clock.begin("data: synth and pack")
    open_data(request.data, listener)
    clock.begin(f"search: {TRIALS} short trials")
    from capetune.models.backbone import fast_precision  # torch takes seconds to import

    name = f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    # The search's trials and the training of the best see the same frozen backbone: its features are computed once.
    features = request.runs_folder / name / FOLDER
    common: dict[str, Any] = {"cache_features": COPIES, "features": features}
    common |= {"runs": request.runs, "verbose": request.verbose}
    precision = f"model.backbone.precision={fast_precision()}"
    settings = ("data.split=1", precision, *request.set, *_schedule(request.short))
    searching = SearchRequest(
        space="demo.yaml", data=request.data, preset="demo", set=settings, name=name, trials=TRIALS, **common
    )
    batch = load_config("demo", None, settings).train.batch_size
    with ray_cluster(verbose=request.verbose, title="capetune demo") as cluster:  # one session for both
        searched = search.run(searching, listener)
        clock.begin("train --best")
        # Its steps are small: two workers, a thread each, make them in less time than one with two threads.
        workers = 2 if cluster.gpus == 0 and cluster.places(1) > 1 and batch % 2 == 0 else 1
        schedule = (*_schedule(request.full or _full()), f"train.batch_size={batch // workers}")
        training = TrainRequest(
            best=True, search=name, set=schedule, name=f"{name}-best", workers=(workers, workers), **common
        )
        trained = train.run(training, listener)
    shutil.rmtree(features)
    clock.begin("eval --split 1: categories never seen")
    asked = EvaluateRequest(
        split=(1,),
        episodes=request.episodes,
        queries=request.queries,
        checkpoint=(trained.checkpoint,),
        runs=request.runs,
    )
    report = evaluate.run(asked, listener)
    assert isinstance(report, EvalReport)
    file = Path(trained.folder) / "eval-split1-test.json"
    write_aside(file, json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n")
    return DemoResult(Path(searched.folder), Path(trained.checkpoint), report, file, clock.end())


def _schedule(keys: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"train.{key}={value}" for key, value in keys.items())


class _Clock:
    """Tells of each stage as it begins, and what each took."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.begun = time.monotonic()
        self.stages: list[tuple[str, float]] = []

    def begin(self, stage: str) -> None:
        now = time.monotonic() - self.begun
        self.stages.append((stage, now))
        self.listener(StageBegan(f"{len(self.stages)} · {stage}", now))

    def end(self) -> dict[str, float]:
        ends = [begun for _, begun in self.stages[1:]] + [time.monotonic() - self.begun]
        return {stage: end - begun for (stage, begun), end in zip(self.stages, ends, strict=True)}
