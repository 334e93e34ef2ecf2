"""Hyperparameter search and training for category-agnostic pose estimation.

    import capetune

    found = capetune.search(space="decoder.yaml", data="shards/", trials=40)
    trained = capetune.train(best=found.name, set={"train.epochs": 300})
    report = capetune.evaluate(split=1, checkpoint=trained.checkpoint)
    model = capetune.load(trained.checkpoint)
    poses = model.predict(["a.jpg", "b.jpg"], capetune.template(file="fly.json"))

Each verb takes its command's options by their names (`capetune search --help`; `--cache-features` is cache_features)
and returns its result; `set` may be a dict. What happens meanwhile is shown as the command shows it, or goes to
`listener`, a function of one `capetune.events.Event`. They run on any thread, in a notebook, inside a Ray job, and on
the Ray that the process has started, where it has. This module imports nothing heavy until one is called.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capetune.cluster.jobs import Job
    from capetune.events import Listener
    from capetune.prediction.model import Model
    from capetune.prediction.template import Template
    from capetune.service.export import ExportResult
    from capetune.service.predict import PredictResult
    from capetune.service.promote import PromoteResult
    from capetune.service.search import SearchResult
    from capetune.service.serve import Server
    from capetune.service.steer import SteerResult
    from capetune.service.train import TrainResult

__all__ = [
    "evaluate",
    "export",
    "load",
    "predict",
    "promote",
    "search",
    "serve",
    "steer",
    "submit",
    "template",
    "train",
]
__version__ = "0.1.0"


def search(*, listener: Listener | None = None, **options: Any) -> SearchResult:
    """Search hyperparameters: space, data, trials, hours, split, preset, config, set, … as `capetune search` has them.

    Raises `capetune.errors.UserError` for what the caller can cure, `service.search.SearchFailed` where every trial
    failed of something else.
    """
    from capetune.service import search as verb

    return _run(verb, verb.SearchRequest, options, listener)


def steer(*, listener: Listener | None = None, **options: Any) -> SteerResult:
    """Change what a running search does: name, and add, stop or trials as `capetune steer` has them. Raises UserError,
    also where it doesn't run."""
    from capetune.service import steer as verb

    return _run(verb, verb.SteerRequest, options, listener)


def train(*, listener: Listener | None = None, **options: Any) -> TrainResult:
    """Train a configuration (preset, config, set) or a search's best (best=NAME), as `capetune train` has it.

    Raises UserError, and `training.launch.TrainingFailed` where a worker failed of something else.
    """
    from capetune.service import train as verb

    return _run(verb, verb.TrainRequest, options, listener)


def promote(*, listener: Listener | None = None, **options: Any) -> PromoteResult:
    """Train a search's best on every split and seed, and score each: name, splits, shots, seeds, … as `capetune
    promote` has them. Raises UserError; failed jobs are in the result."""
    from capetune.service import promote as verb

    return _run(verb, verb.PromoteRequest, options, listener)


def evaluate(*, listener: Listener | None = None, **options: Any) -> Any:
    """Score a model or a baseline on the official pairs: split, part, shots, checkpoint, … as `capetune eval` has them.

    An EvalReport; of several splits, shots or checkpoints EvalReports, whose `reports` are in their order. Raises
    UserError.
    """
    from capetune.service import evaluate as verb

    return _run(verb, verb.EvaluateRequest, options, listener)


def submit(
    verb: str, *, address: str | None = None, token_file: Path | None = None, id: str | None = None, **options: Any
) -> Job:
    """Send a search, train, promote or evaluate, with the options of that function, to a Ray cluster as a job, as
    `capetune submit` does; `capetune.cluster.jobs.Jobs(address, token_file)` follows, waits for and stops it.

    address: of the cluster's dashboard. Raises UserError.
    """
    from capetune.cluster.jobs import Jobs
    from capetune.service.door import parse_request
    from capetune.service.submit import submit as send

    return send(parse_request({**options, "verb": verb}), Jobs(address, token_file), id)


def predict(*, listener: Listener | None = None, **options: Any) -> PredictResult:
    """Find a template's keypoints in pictures, and write them as files: images, template, boxes, out, … as `capetune
    predict` has them. `load` keeps a model at hand instead, and gives arrays.

    Raises UserError; pictures that can't be used are in the result.
    """
    from capetune.service import predict as verb

    return _run(verb, verb.PredictRequest, options, listener)


@contextmanager
def serve(*, listener: Listener | None = None, **options: Any) -> Iterator[Server]:
    """A model behind HTTP while the block runs: checkpoint, port, token_file, … as `capetune serve` has them.

        with capetune.serve(checkpoint="runs/best", port=0) as server:
            ...  # server.url, server.token

    Raises UserError.
    """
    from capetune.service.serve import ServeRequest, served

    request = ServeRequest.of(**options)
    if listener is not None:
        with served(request, listener) as server:
            yield server
        return
    from capetune.reports.console import console
    from capetune.reports.screen import Screen

    with Screen(console()) as screen, served(request, screen.hear) as server:
        yield server


def export(*, listener: Listener | None = None, **options: Any) -> ExportResult:
    """Write a model as one file for other programs, and its card: checkpoint, out, format, keypoints, scores as
    `capetune export` has them. Raises UserError, also where the file gives something else than the model."""
    from capetune.service import export as verb

    return _run(verb, verb.ExportRequest, options, listener)


def load(checkpoint: str | Path) -> Model:
    """A trained model, on the CPU and in evaluation mode. Its `predict(images, template)` gives keypoints, `to("cuda")`
    moves it; `estimator` is the network, `meta` what its checkpoint says of it.

    checkpoint: its folder or address, or a run's, whose best it is then. Raises UserError where there is none.
    """
    from capetune.prediction.model import load_best
    from capetune.runs.home import at_home

    with at_home(checkpoint) as folder:
        return load_best(folder)


def template(**options: Any) -> Template:
    """A template of a category: read (file), of labelled instances (coco, or data and category; shots), or of points in
    a picture (points, edges, names, box), as `capetune template make` takes them.

    Raises UserError.
    """
    from capetune.service.templates import TemplateRequest, made

    return made(TemplateRequest.of(**options))


def _run(verb: Any, kind: Any, options: dict[str, Any], listener: Listener | None) -> Any:
    import os

    if "address" in kind.model_fields:  # inside a Ray job Ray says where its cluster is
        options = {"address": os.environ.get("RAY_ADDRESS"), **options}
    request = kind.of(**options)
    if listener is not None:
        return verb.run(request, listener)
    from capetune.reports.console import console
    from capetune.reports.screen import Screen

    with Screen(console()) as screen:
        return verb.run(request, screen.hear)
