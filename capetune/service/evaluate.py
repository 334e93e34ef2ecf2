"""Evaluate: a model or a baseline on MP-100's official pairs, beside the template on the same pairs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from capetune.datasets.mp100.files import find_files, read_file
from capetune.datasets.mp100.findings import noted, said
from capetune.errors import UserError
from capetune.evaluation import baselines
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.protocol import EPISODES
from capetune.evaluation.report import EvalReport
from capetune.evaluation.support import ablations
from capetune.events import CheckpointChosen, Doubted, Listener, Progress, StepBegan, ignore
from capetune.pose import Part
from capetune.runs.checkpoints import read_meta
from capetune.runs.copy import bring, evaluated
from capetune.runs.home import at_home
from capetune.runs.registry import latest_best
from capetune.service.request import Count, Request, Split, Where
from capetune.service.steps import housed, open_data
from capetune.storage.scratch import named


class EvaluateRequest(Request):
    verb: Literal["evaluate"] = "evaluate"
    split: Split
    part: Literal["train", "val", "test"] = "test"
    shots: Count = 1
    episodes: Count | None = None
    queries: Count = 15
    predictor: Literal["model", "template", "center"] = "model"
    data: str | None = None
    annotations: Path | None = None
    checkpoint: Where | None = None
    ablate: bool = False


def run(request: EvaluateRequest, listener: Listener = ignore) -> EvalReport:
    """Score it; with `ablate`, again with each wrong support of `evaluation.support.ablations`.

    Raises UserError for what the caller can cure: a model that was trained on another split of the same data, say, for
    it may have seen the categories.
    """
    _check(request)
    with housed(request, listener) as (request, listener), ExitStack() as copies:
        return _run(request, listener, copies)


def _run(request: EvaluateRequest, listener: Listener, copies: ExitStack) -> EvalReport:
    """copies: takes what must be there to the end."""
    chosen: Any
    used, config_hash = None, None
    if request.predictor == "model":
        chosen, used, config_hash = _model(request, listener, copies)
        part = chosen.pack.part(request.split, request.part)
    else:
        chosen = baselines.Template() if request.predictor == "template" else baselines.Center()
        part = _part(request, listener)
    episodes = request.episodes or EPISODES.get(request.part, EPISODES["val"])
    supports = {"own": chosen.support, **ablations(part)} if request.ablate else {"own": None}
    found = {}
    for name, support in supports.items():
        what = f"{name} support" if request.ablate else ""
        listener(StepBegan("evaluation", what))
        if support is not None:
            chosen.support = support
        told = partial(_told, listener, what)
        found[name] = evaluate(part, chosen, request.shots, episodes, request.queries, told)
    own = found.pop("own")
    others = {name: other.scores for name, other in found.items()}
    return replace(own, checkpoint=used, config_hash=config_hash, ablation=others)


def _told(listener: Listener, what: str, done: int, total: int) -> None:
    listener(Progress("evaluation", done, total, what))


def _check(request: EvaluateRequest) -> None:
    if request.predictor == "model" and request.annotations is not None:
        raise UserError("a model needs images: give --data PACK, or --predictor template for annotations alone")
    if request.predictor != "model" and request.checkpoint is not None:
        raise UserError(f"--predictor {request.predictor} has no checkpoint; leave out one of the two")
    if request.predictor != "model" and request.ablate:
        raise UserError(f"--ablate asks what a model owes to its support; --predictor {request.predictor} is none")


def _model(request: EvaluateRequest, listener: Listener, copies: ExitStack) -> tuple[Any, str, str]:
    """The model as a `Predictor`, the checkpoint's path and its configuration's hash."""
    if request.checkpoint is None:
        checkpoint, _ = latest_best(request.runs_folder)
        listener(CheckpointChosen(str(checkpoint)))
    else:
        checkpoint = copies.enter_context(at_home(request.checkpoint))
    bring(checkpoint, wanted=evaluated)
    meta = read_meta(checkpoint)
    pack = open_data(request.data or meta.data["pack"], listener)
    trained = meta.data["split"]
    if trained != request.split and pack.synthetic == (meta.data["data"] == "synthetic"):
        raise UserError(
            f"{checkpoint} was trained on split {trained}: it may have seen categories that split {request.split} "
            f"tests; train one with `capetune train --split {request.split}` or evaluate --split {trained}"
        )

    # torch takes seconds to import: not before what can be refused without it.
    from capetune.evaluation.model import ModelPredictor
    from capetune.models.execution import usual_device
    from capetune.training.checkpoint import load_model

    model, _ = load_model(checkpoint)
    device = usual_device()
    predictor = ModelPredictor(model.settle(device), pack, meta.config.data, device)
    return predictor, named(str(checkpoint)), meta.config.hash()


def _part(request: EvaluateRequest, listener: Listener) -> Part:
    if request.annotations is not None and request.data is None:
        files = find_files(request.annotations)
        key = (request.split, request.part)
        if key not in files:
            there = ", ".join(path.name for path in files.values())
            raise UserError(
                f"no mp100_split{request.split}_{request.part}.json in {request.annotations}; there are {there}"
            )
        reading = read_file(files[key], *key)
        for line in said(noted(reading.dropped), noted(reading.doubts)):
            listener(Doubted(f"{files[key].name}: {line}"))
        return reading.part
    if request.data is not None and request.annotations is None:
        return open_data(request.data, listener).part(request.split, request.part)
    raise UserError("give one of --data PACK and --annotations DIR: it says where the instances come from")
