"""Evaluate: a model or a baseline on MP-100's official pairs, beside the template on the same pairs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from capetune.cluster.environment import prepare_environment
from capetune.errors import UserError
from capetune.evaluation import baselines
from capetune.evaluation.compare import check_same_pairs, compare
from capetune.evaluation.evaluate import Predictor, evaluate
from capetune.evaluation.predictions import FromFile, Kept
from capetune.evaluation.protocol import EPISODES, Measure, official_pairs, pairs_hash
from capetune.evaluation.report import EvalReport
from capetune.evaluation.support import supports
from capetune.events import CheckPassed, Listener, Progress, StepBegan, ignore
from capetune.runs.document import Odd, read_tree
from capetune.service.request import Count, Numbers, Request, Splits, Wheres
from capetune.service.steps import housed, ray_joined
from capetune.service.subjects import Subject, models, others
from capetune.storage.whole import pour

AGAIN = "the same command again"
MOST_SHOTS = 100


class EvaluateRequest(Request):
    verb: Literal["evaluate"] = "evaluate"
    split: Splits | None = None
    part: Literal["train", "val", "test"] = "test"
    shots: Numbers = (1,)
    episodes: Count | None = None
    queries: Count = 15
    predictor: Literal["model", "template", "center"] = "model"
    data: str | None = None
    annotations: Path | None = None
    checkpoint: Wheres = ()
    ablate: bool = False
    predictions: Path | None = None
    from_predictions: Path | None = None
    compare: Path | None = None
    protocol: Measure = "official"
    workers: Count | None = None
    cpus: Count | None = None
    address: str | None = None
    verbose: bool = False

    @property
    def several(self) -> bool:
        """Whether its result is EvalReports."""
        return max(len(self.checkpoint), len(self.split or ()), len(self.shots)) > 1


@dataclass(frozen=True)
class EvalReports:
    """Those of several checkpoints, splits or numbers of supports, in this order."""

    reports: tuple[EvalReport, ...]

    def named(self) -> dict[str, EvalReport]:
        """By file, such as "smoke-epoch-0004/eval-split1-1shot.json": a folder holds the results of one method."""
        folders: dict[str, str] = {}
        for report in self.reports:
            key = report.checkpoint or report.predictor
            name = "-".join(key.rstrip("/").split("/")[-2:])
            others = [folder for other, folder in folders.items() if other != key]
            folders.setdefault(key, name if name not in others else f"{name}-{len(folders) + 1}")
        return {
            f"{folders[r.checkpoint or r.predictor]}/eval-split{r.split}-{r.shots}shot.json": r for r in self.reports
        }

    def to_json(self) -> dict[str, Any]:
        return {"results": [report.to_json() for report in self.reports]}


Showing = Callable[[str], Predictor]
"""A name of `evaluation.support.supports` to the predictor that is shown such supports."""


def run(request: EvaluateRequest, listener: Listener = ignore) -> EvalReport | EvalReports:
    """Score it; with `ablate`, again with each wrong support of `evaluation.support.ablations`; with `predictions`,
    write what was predicted; with `compare`, say how it differs from another result of the same pairs. With `workers`
    they share each model's pictures on a cluster; the digits are the same. EvalReports where several checkpoints,
    splits or numbers of supports are asked for.

    Raises UserError for what the caller can cure: a model that was trained on another split of the same data, say, for
    it may have seen the categories.
    """
    _check(request)
    with housed(request, listener) as (request, listener), ExitStack() as ends:
        other = _read(request.compare, "--compare") if request.compare else None
        subjects = _subjects(request, listener, ends)
        found = list(_scored(request, subjects, other, listener, ends))
        return EvalReports(tuple(found)) if request.several else found[0]


def _subjects(request: EvaluateRequest, listener: Listener, ends: ExitStack) -> list[Subject]:
    """ends: takes what must be there to the end."""
    asked = request.split, request.part, request.data
    if _is_model(request):
        return models(request.checkpoint, *asked, request.runs_folder, listener, ends)
    make: Callable[[], Any] = baselines.Template if request.predictor == "template" else baselines.Center
    if request.from_predictions is not None:
        tree = _read(request.from_predictions, "--from-predictions")
        make = partial(FromFile, tree, str(request.from_predictions), request.queries)
    assert request.split is not None
    return list(others(make, request.split, request.part, request.data, request.annotations, listener))


def _scored(
    request: EvaluateRequest, subjects: list[Subject], other: Any, listener: Listener, ends: ExitStack
) -> Iterator[EvalReport]:
    for subject in subjects:
        episodes = request.episodes or EPISODES.get(request.part, EPISODES["val"])
        if request.compare:  # before what takes long
            pairs = official_pairs(subject.part, request.shots[0], episodes, request.queries)
            check_same_pairs(other, str(request.compare), pairs_hash(subject.part, pairs), request.protocol)
    shows = _shows(request, listener, ends)
    for subject in subjects:
        showing = shows(subject)
        for shots in request.shots:
            yield _score(request, subject, showing, shots, other, listener)


def _shows(request: EvaluateRequest, listener: Listener, ends: ExitStack) -> Callable[[Subject], Showing]:
    """How a subject predicts: in this process, or by workers, which are started here."""
    if not _is_model(request):
        return lambda subject: lambda support: subject.predictor
    # torch and Ray take seconds to import: not before what can be refused without them.
    if request.workers is None:
        return _here
    prepare_environment(request.address, request.verbose)
    listener(StepBegan("imports", "PyTorch and Ray"))
    from capetune.tuning.preflight import plan
    from capetune.tuning.scoring import SpreadPredictor, scorers

    joined = ray_joined(request.address, request.verbose, listener, "capetune eval", AGAIN, request.cpus)
    cluster = ends.enter_context(joined)
    shared = plan(cluster, 1, request.workers)
    if shared.at_once < request.workers and cluster.token is not None:
        raise UserError(f"{request.workers} workers want a CPU each, and this machine has {cluster.cpus}: take fewer")
    each = "1 GPU" if shared.device == "cuda" else f"{shared.threads} CPU{'s' * (shared.threads > 1)}"
    later = request.workers - shared.at_once
    more = f"; {later} of them when there is room" if later else ""
    listener(CheckPassed("cluster", f"{request.workers} worker{'s' * (request.workers > 1)}, {each} each{more}"))
    crew = ends.enter_context(scorers(shared, request.workers, "eval", listener))

    def spread(subject: Subject) -> Showing:
        assert subject.model is not None
        model = subject.model
        return partial(SpreadPredictor, crew, model.checkpoint, model.meta, model.pack, subject.part)

    return spread


def _here(subject: Subject) -> Showing:
    from capetune.evaluation.model import ModelPredictor
    from capetune.models.execution import usual_device
    from capetune.training.checkpoint import load_model

    assert subject.model is not None
    device, known = usual_device(), supports(subject.part, subject.looks)
    model, meta = load_model(subject.model.checkpoint)
    predictor = ModelPredictor(model.settle(device), subject.model.pack, meta.config.data, device)

    def showing(support: str) -> Predictor:
        predictor.support = known[support]
        return predictor

    return showing


def _score(
    request: EvaluateRequest, subject: Subject, showing: Showing, shots: int, other: Any, listener: Listener
) -> EvalReport:
    part = subject.part
    episodes = request.episodes or EPISODES.get(request.part, EPISODES["val"])
    kept = Kept(showing("own"), request.queries) if request.predictions else None
    found = {}
    for name in supports(part, subject.looks) if request.ablate else ("own",):
        what = f"{name} support" if request.ablate else ""
        listener(StepBegan("evaluation", what))
        told = partial(_told, listener, what)
        predictor = kept if kept and name == "own" else showing(name)
        found[name] = evaluate(part, predictor, shots, episodes, request.queries, told, request.protocol)
    own = replace(found.pop("own"), **subject.facts)
    own = replace(own, ablation={name: wrong.scores for name, wrong in found.items()})
    if subject.seen is not None:
        own = own.known(subject.seen, part)
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
    if not _is_model(request) and request.checkpoint:
        raise UserError(f"{who} has no checkpoint; leave out one of the two")
    if not _is_model(request) and request.ablate:
        raise UserError(f"--ablate asks what a model owes to its support; {who} is none")
    if not _is_model(request) and not request.split:
        raise UserError(f"{who} has no split of its own: give --split")
    if not _is_model(request) and request.workers is not None:
        raise UserError(f"--workers share a model's pictures; {who} looks at none: leave --workers out")
    # `capetune submit` says auto to every verb.
    said = request.address not in (None, "auto", os.environ.get("RAY_ADDRESS"))
    if request.workers is None and (request.cpus or said):
        raise UserError("--address and --cpus say where --workers score: give --workers N too")
    if not request.shots or not 1 <= min(request.shots) <= max(request.shots) <= MOST_SHOTS:
        raise UserError(f"--shots wants numbers from 1 to {MOST_SHOTS}, not {','.join(map(str, request.shots))}")
    if request.several and (request.predictions or request.from_predictions or request.compare):
        raise UserError("--predictions, --from-predictions and --compare are of one result: ask for one at a time")
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
