"""Export: a checkpoint as one file for programs without capetune, compared with the model before it is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from capetune.errors import UserError
from capetune.events import Doubted, Listener, StepBegan, ignore
from capetune.runs.checkpoints import read_meta
from capetune.service.chosen import check_geometry, checkpoint_of
from capetune.service.request import Request, Where
from capetune.service.steps import housed
from capetune.storage.scratch import named
from capetune.storage.whole import write_aside

if TYPE_CHECKING:
    from capetune.prediction.exported import Runner
    from capetune.prediction.model import Model
    from capetune.prediction.parity import Asked, Parity

ENDS = {"torch": ".pt2", "onnx": ".onnx", "card": ".md"}
BATCHES = (1, 8)  # whose times are taken


class ExportRequest(Request):
    verb: Literal["export"] = "export"
    checkpoint: Where
    out: Path
    format: Literal["torch", "onnx", "card"] = "torch"
    keypoints: Annotated[int, Field(ge=2, le=1000)] = 100
    scores: Annotated[tuple[Path, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str | Path) else v)] = ()


@dataclass(frozen=True)
class ExportResult:
    """facts: what the file says of itself. For a card alone there are no parity, no megabytes and no speeds. speeds: of
    each size of batch the keypoints, the threads, and the medians of seconds of `torch`, the model as it is, and of
    `file`, taken in turns."""

    out: Path
    card: Path
    format: str
    checkpoint: str
    facts: Mapping[str, Any] = field(repr=False)
    parity: Parity | None = None
    megabytes: float = 0.0
    weights_megabytes: float = 0.0
    speeds: Sequence[dict[str, float]] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "out": str(self.out),
            "card": str(self.card),
            "format": self.format,
            "checkpoint": self.checkpoint,
            "parity": self.parity and self.parity.to_json(),
            "megabytes": self.megabytes,
            "weights_megabytes": self.weights_megabytes,
            "speeds": list(self.speeds),
        }


def run(request: ExportRequest, listener: Listener = ignore) -> ExportResult:
    """Write `out`, and its card beside it, called `.md`; neither before the file gave what the model gives, on noise
    and on pictures of the model's pack, or drawn ones where that can't be had.

    Raises UserError for what the caller can cure, and where the file gives something else, with the largest difference.
    """
    end = ENDS[request.format]
    if request.out.suffix != end:
        raise UserError(f"--out {request.out}: call a file of --format {request.format} something{end}")
    for file in {request.out, request.out.with_suffix(".md")}:
        if file.exists():
            raise UserError(f"{file} is there already; remove it, or give another --out")
    with housed(request, listener) as (request, listener), ExitStack() as copies:
        checkpoint = checkpoint_of(request.checkpoint, request.runs_folder, listener, copies)
        meta = read_meta(checkpoint)
        if request.format != "card":
            check_geometry(meta, "an exported file")
        with _writing(request.out):
            request.out.parent.mkdir(parents=True, exist_ok=True)
            aside = copies.enter_context(tempfile.TemporaryDirectory(prefix=".exporting-", dir=request.out.parent))
        return _run(request, listener, checkpoint, Path(aside))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror or error}") from None


def _run(request: ExportRequest, listener: Listener, checkpoint: Path, aside: Path) -> ExportResult:
    # torch takes seconds to import: not before what can be refused without it.
    from capetune.models.execution import usual_device
    from capetune.prediction.card import model_card, read_results
    from capetune.prediction.exported import Exported, check_installed, in_float32, open_exported, write_exported
    from capetune.prediction.model import load_best
    from capetune.prediction.usage import facts_of, usage_lines
    from capetune.training.checkpoint import MODEL, weights_hash

    if request.format != "card":
        check_installed(request.format)
    usual_device()  # as many threads as it may use
    model = load_best(checkpoint)
    in_float32(model.estimator)  # and be compared so
    weights, name = weights_hash(checkpoint), named(str(checkpoint))
    results = read_results(request.scores, weights)
    facts = facts_of(model.estimator, model.meta, name, weights, request.keypoints)
    card = request.out.with_suffix(".md")
    if request.format == "card":
        with _writing(card):
            write_aside(card, model_card(model.meta, facts, results))
        return ExportResult(card, card, "card", name, facts)

    listener(StepBegan("export", f"writing {request.out}"))
    file = aside / request.out.name
    exported = Exported(model.estimator, model.meta.config.data.size, request.keypoints)
    with _writing(request.out):
        write_exported(exported, request.format, facts, file)
    listener(StepBegan("export", "comparing it with the model"))
    runner = open_exported(file, request.format)
    parity, speeds = _judged(model, runner, request, listener)
    megabytes, own = (each.stat().st_size / 1e6 for each in (file, checkpoint / MODEL))
    usage = usage_lines(request.format, request.out.name, facts, parity, speeds, megabytes)
    text = model_card(model.meta, facts, results, request.out.name, usage)
    with _writing(request.out):
        file.replace(request.out)
        write_aside(card, text)
    return ExportResult(request.out, card, request.format, name, facts, parity, megabytes, own, speeds)


def _judged(
    model: Model, runner: Runner, request: ExportRequest, listener: Listener
) -> tuple[Parity, list[dict[str, float]]]:
    """Raises UserError where the file gives something else than the model."""
    import torch

    from capetune.prediction.parity import PIXELS, SCORE, compare, medians, noise, repeated

    pictures, words = _pictures(model, request.keypoints, listener)
    asked = noise(model.meta.config.data.size, request.keypoints) + pictures
    parity = compare(model, runner, asked, f"noise of up to {request.keypoints} keypoints and {words}")
    if not parity.fits:
        raise UserError(
            f"the exported file isn't the model: keypoints differ by up to {parity.pixels:.3g} pixels, scores by up to "
            f"{parity.score:.3g}, where {PIXELS} and {SCORE} are allowed; nothing is written. Please report it, with "
            "the configuration"
        )
    speeds = []
    for batch in BATCHES:
        timed = repeated((pictures or asked)[0], batch)
        own, files = medians(model, runner, timed)
        size = timed.template.graph.size
        row = {"batch": batch, "keypoints": size, "threads": torch.get_num_threads(), "torch": own, "file": files}
        speeds.append(row)
    return parity, speeds


def _pictures(model: Model, most: int, listener: Listener) -> tuple[list[Asked], str]:
    """Of the model's pack, or drawn; and what they are, in words."""
    from capetune.datasets.packs.reader import open_pack
    from capetune.prediction.parity import drawn, packed

    trained = model.meta.data
    try:
        found = packed(model, open_pack(trained["pack"]), trained["split"], most)
        words = f"of {trained['data']} data"
    except UserError as error:
        listener(Doubted(f"{error}: compared on drawn pictures"))
        found = []
    if not found:
        found, words = drawn(model, most), "drawn for this"
    return found, f"{sum(len(each.crops) for each in found)} pictures {words}"
