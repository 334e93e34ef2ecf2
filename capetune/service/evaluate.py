"""Evaluate: a model or a baseline on MP-100's official pairs, beside the template on the same pairs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from capetune.datasets.mp100.files import find_files, read_file
from capetune.datasets.mp100.findings import noted, said
from capetune.datasets.packs.manifest import file_sha256
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.evaluation import baselines
from capetune.evaluation.compare import check_same_pairs, compare
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.predictions import FromFile, Kept
from capetune.evaluation.protocol import EPISODES, official_pairs, pairs_hash
from capetune.evaluation.report import EvalReport
from capetune.evaluation.seen import Seen, overlap
from capetune.evaluation.support import ablations
from capetune.events import CheckpointChosen, Doubted, Listener, Progress, StepBegan, ignore
from capetune.pose import Part
from capetune.runs.checkpoints import CheckpointMeta, read_meta
from capetune.runs.copy import bring, evaluated
from capetune.runs.document import Odd, read_tree
from capetune.runs.home import at_home
from capetune.runs.registry import latest_best
from capetune.service.request import Count, Request, Split, Where
from capetune.service.steps import housed, open_data
from capetune.storage.scratch import named
from capetune.storage.whole import pour


class EvaluateRequest(Request):
    verb: Literal["evaluate"] = "evaluate"
    split: Split | None = None
    part: Literal["train", "val", "test"] = "test"
    shots: Count = 1
    episodes: Count | None = None
    queries: Count = 15
    predictor: Literal["model", "template", "center"] = "model"
    data: str | None = None
    annotations: Path | None = None
    checkpoint: Where | None = None
    ablate: bool = False
    predictions: Path | None = None
    from_predictions: Path | None = None
    compare: Path | None = None


@dataclass(frozen=True)
class _Subject:
    """What is scored on which part. facts: fields of the report that only the caller of `evaluate` knows.
    seen: what of the part a model was trained on."""

    predictor: Any
    part: Part
    facts: dict[str, Any]
    seen: Seen | None = None


def run(request: EvaluateRequest, listener: Listener = ignore) -> EvalReport:
    """Score it; with `ablate`, again with each wrong support of `evaluation.support.ablations`; with `predictions`,
    write what was predicted; with `compare`, say how it differs from another result of the same pairs.

    Raises UserError for what the caller can cure: a model that was trained on another split of the same data, say, for
    it may have seen the categories.
    """
    _check(request)
    with housed(request, listener) as (request, listener), ExitStack() as copies:
        return _run(request, listener, copies)


def _run(request: EvaluateRequest, listener: Listener, copies: ExitStack) -> EvalReport:
    """copies: takes what must be there to the end."""
    other = _read(request.compare, "--compare") if request.compare else None
    subject = _model(request, listener, copies) if _is_model(request) else _other(request, listener)
    part, chosen = subject.part, subject.predictor
    episodes = request.episodes or EPISODES.get(request.part, EPISODES["val"])
    if request.compare:  # before what takes long
        pairs = official_pairs(part, request.shots, episodes, request.queries)
        check_same_pairs(other, str(request.compare), pairs_hash(part, pairs))
    supports = {"own": chosen.support, **ablations(part)} if request.ablate else {"own": None}
    kept = Kept(chosen, request.queries) if request.predictions else None
    found = {}
    for name, support in supports.items():
        what = f"{name} support" if request.ablate else ""
        listener(StepBegan("evaluation", what))
        if support is not None:
            chosen.support = support
        told = partial(_told, listener, what)
        predictor = kept if kept and name == "own" else chosen
        found[name] = evaluate(part, predictor, request.shots, episodes, request.queries, told)
    own = replace(found.pop("own"), **subject.facts)
    own = replace(own, ablation={name: wrong.scores for name, wrong in found.items()})
    if subject.seen is not None:
        own = own.known(subject.seen)
    if request.compare:
        ours = {str(row.category.id): row.scores.mpck4 for row in own.per_category}
        own = replace(own, comparison=compare(ours, other, str(request.compare)))
    if kept and request.predictions:
        try:
            pour(kept.pieces(), request.predictions)
        except OSError as error:
            raise UserError(f"can't write {request.predictions}: {error.strerror or error}") from None
    return own


def _told(listener: Listener, what: str, done: int, total: int) -> None:
    listener(Progress("evaluation", done, total, what))


def _is_model(request: EvaluateRequest) -> bool:
    return request.predictor == "model" and request.from_predictions is None


def _check(request: EvaluateRequest) -> None:
    if _is_model(request) and request.annotations is not None:
        raise UserError("a model needs images: give --data PACK, or --predictor template for annotations alone")
    if request.from_predictions is not None and request.predictor != "model":
        raise UserError(f"--from-predictions has its own predictor; leave out --predictor {request.predictor}")
    who = f"--predictor {request.predictor}" if request.from_predictions is None else "--from-predictions"
    if not _is_model(request) and request.checkpoint is not None:
        raise UserError(f"{who} has no checkpoint; leave out one of the two")
    if not _is_model(request) and request.ablate:
        raise UserError(f"--ablate asks what a model owes to its support; {who} is none")
    if not _is_model(request) and request.split is None:
        raise UserError(f"{who} has no split of its own: give --split")
    out = request.predictions
    if out is not None and request.from_predictions is not None:
        raise UserError("--predictions would write what --from-predictions reads; leave out one of the two")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise UserError(f"can't write {out}: give --predictions a file in a folder that exists")


def _read(file: Path, option: str) -> Any:
    try:
        return read_tree(file)
    except FileNotFoundError:
        raise UserError(f"{option} {file}: there is no such file") from None
    except Odd as odd:
        raise UserError(f"{option} {file} {odd}") from None


def _model(request: EvaluateRequest, listener: Listener, copies: ExitStack) -> _Subject:
    """The model as a `Predictor`, on the split and data that it was trained on where no others are given."""
    if request.checkpoint is None:
        checkpoint, best = latest_best(request.runs_folder)
        listener(CheckpointChosen(str(checkpoint), best.epoch))
    else:
        checkpoint = copies.enter_context(at_home(request.checkpoint))
    bring(checkpoint, wanted=evaluated)
    meta = read_meta(checkpoint)
    pack = open_data(request.data or meta.data["pack"], listener)
    trained = meta.data["split"]
    split = request.split or trained
    if trained != split and pack.synthetic == (meta.data["data"] == "synthetic"):
        raise UserError(
            f"{checkpoint} was trained on split {trained}: it may have seen categories that split {split} "
            f"tests; train one with `capetune train --split {split}` or evaluate --split {trained}"
        )
    part = pack.part(split, request.part)

    # torch takes seconds to import: not before what can be refused without it.
    from capetune.evaluation.model import ModelPredictor
    from capetune.models.execution import usual_device
    from capetune.training.checkpoint import load_model, weights_hash

    model, _ = load_model(checkpoint)
    device = usual_device()
    predictor = ModelPredictor(model.settle(device), pack, meta.config.data, device)
    facts = {"checkpoint": named(str(checkpoint)), "config_hash": meta.config.hash(), "epoch": meta.epoch}
    facts |= {"weights_hash": weights_hash(checkpoint), **_told_of(pack)}
    return _Subject(predictor, part, facts, _seen(meta, pack, part, listener))


def _seen(meta: CheckpointMeta, pack: Pack, part: Part, listener: Listener) -> Seen:
    """What of the part the model was trained on, first and last: unknown where a pack that was of is gone or has
    changed."""
    parts = []
    for trained in (*meta.data.get("before", []), meta.data):
        found = pack
        if pack.fingerprint != trained.get("data_hash"):
            try:
                found = open_data(trained["pack"], listener)
            except UserError as error:
                listener(
                    Doubted(
                        f"what the model was trained on can't be looked at, so seen isn't told from unseen: {error}"
                    )
                )
                return Seen(known=False)
        if found.fingerprint != trained.get("data_hash"):
            listener(Doubted(f"{found.address} has changed since the model was trained: seen isn't told from unseen"))
            return Seen(known=False)
        parts.append(found.part(trained["split"], "train"))
    return overlap(parts, part)


def _other(request: EvaluateRequest, listener: Listener) -> _Subject:
    """A baseline, or predictions out of a file."""
    predictor: Any = baselines.Template() if request.predictor == "template" else baselines.Center()
    if request.from_predictions is not None:
        tree = _read(request.from_predictions, "--from-predictions")
        predictor = FromFile(tree, str(request.from_predictions), request.queries)
    assert request.split is not None
    return _Subject(predictor, *_part(request, request.split, listener))


def _told_of(pack: Pack) -> dict[str, Any]:
    return {"data_hash": pack.fingerprint, "coverage": pack.manifest.coverage, "pack": pack.place.resolved}


def _part(request: EvaluateRequest, split: int, listener: Listener) -> tuple[Part, dict[str, Any]]:
    """And what the result has to say of the data it is a part of."""
    if request.annotations is not None and request.data is None:
        files = find_files(request.annotations)
        key = (split, request.part)
        if key not in files:
            there = ", ".join(path.name for path in files.values())
            raise UserError(f"no mp100_split{split}_{request.part}.json in {request.annotations}; there are {there}")
        reading = read_file(files[key], *key)
        for line in said(noted(reading.dropped), noted(reading.doubts)):
            listener(Doubted(f"{files[key].name}: {line}"))
        return reading.part, {"data_hash": file_sha256(files[key])[:12]}
    if request.data is not None and request.annotations is None:
        pack = open_data(request.data, listener)
        return pack.part(split, request.part), _told_of(pack)
    raise UserError("give one of --data PACK and --annotations DIR: it says where the instances come from")
