"""What an evaluation scores: a checkpoint on a part of its own split, or a baseline or anyone's predictions on any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capetune.datasets.mp100.files import find_files, read_file
from capetune.datasets.mp100.findings import noted, said
from capetune.datasets.packs.manifest import file_sha256
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.evaluation.seen import Seen, overlap
from capetune.events import Doubted, Listener
from capetune.pose import Part
from capetune.runs.checkpoints import CheckpointMeta, read_meta
from capetune.service.chosen import checkpoint_of
from capetune.service.steps import open_data
from capetune.storage.scratch import named as by_address


@dataclass(frozen=True, eq=False)
class Model:
    """A checkpoint, and the pack that it is scored on."""

    checkpoint: Path
    meta: CheckpointMeta
    pack: Pack


@dataclass(frozen=True, eq=False)
class Subject:
    """What is scored on which part: a model, or any other predictor. facts: fields of the report that only the caller
    of `evaluate` knows. seen: what of the part a model was trained on."""

    part: Part
    facts: dict[str, Any]
    model: Model | None = None
    predictor: Any = None
    seen: Seen | None = None

    @property
    def looks(self) -> bool:
        """Whether it looks at images of supports."""
        return self.model is not None and self.model.meta.config.model.support.looks


def models(
    wanted: Sequence[Path | str],
    splits: Sequence[int] | None,
    part: str,
    data: str | None,
    runs: Path,
    listener: Listener,
    copies: ExitStack,
) -> list[Subject]:
    """Every checkpoint on those of the splits that are its own, by default on the split and data of its training.

    wanted: checkpoints, runs' folders or names below `runs`, whose best is taken; none: the best of the latest run.
    Raises UserError where a checkpoint, or a split, is left without the other: on another split of the data that it was
    trained on a model may have seen the categories.
    """
    found, scored = [], set()
    named = (checkpoint_of(each, runs, listener, copies) for each in wanted or (None,))
    for checkpoint in dict.fromkeys(named):
        meta = read_meta(checkpoint)
        model = Model(checkpoint, meta, open_data(data or meta.data["pack"], listener))
        trained = meta.data["split"]
        same = model.pack.synthetic == (meta.data["data"] == "synthetic")
        own = [split for split in splits or (trained,) if split == trained or not same]
        if not own:
            raise UserError(
                f"{checkpoint} was trained on split {trained}: it may have seen categories that split "
                f"{', '.join(map(str, splits or ()))} tests; train one with `capetune train --split "
                f"{(splits or (trained,))[0]}` or evaluate --split {trained}"
            )
        scored |= set(own)
        found += [_of_model(model, split, part, listener) for split in own]
    without = [split for split in splits or () if split not in scored]
    if without:
        raise UserError(
            f"no checkpoint is of split {', '.join(map(str, without))}: a model is scored on the split it was trained "
            "on, on another it may have seen the categories; name one for each with --checkpoint, or leave it out"
        )
    return found


def others(
    make: Callable[[], Any],
    splits: Sequence[int],
    part: str,
    data: str | None,
    annotations: Path | None,
    listener: Listener,
) -> Iterator[Subject]:
    """What `make` gives, which is no model, on every split. Raises UserError where it isn't said on which data."""
    for split in splits:
        chosen, facts = _part(split, part, data, annotations, listener)
        yield Subject(chosen, facts, predictor=make())


def _of_model(model: Model, split: int, part: str, listener: Listener) -> Subject:
    from capetune.training.checkpoint import weights_hash  # torch

    chosen, meta = model.pack.part(split, part), model.meta
    facts = {"checkpoint": by_address(str(model.checkpoint)), "config_hash": meta.config.hash(), "epoch": meta.epoch}
    facts |= {"weights_hash": weights_hash(model.checkpoint), **_told_of(model.pack)}
    return Subject(chosen, facts, model, seen=_seen(meta, model.pack, chosen, listener))


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
                why = f"what the model was trained on can't be looked at, so seen isn't told from unseen: {error}"
                listener(Doubted(why))
                return Seen(known=False)
        if found.fingerprint != trained.get("data_hash"):
            listener(Doubted(f"{found.address} has changed since the model was trained: seen isn't told from unseen"))
            return Seen(known=False)
        parts.append(found.part(trained["split"], "train"))
    return overlap(parts, part)


def _told_of(pack: Pack) -> dict[str, Any]:
    return {"data_hash": pack.fingerprint, "coverage": pack.manifest.coverage, "pack": pack.place.resolved}


def _part(
    split: int, part: str, data: str | None, annotations: Path | None, listener: Listener
) -> tuple[Part, dict[str, Any]]:
    """And what the result has to say of the data it is a part of."""
    if annotations is not None and data is None:
        files = find_files(annotations)
        if (split, part) not in files:
            there = ", ".join(path.name for path in files.values())
            raise UserError(f"no mp100_split{split}_{part}.json in {annotations}; there are {there}")
        file = files[split, part]
        reading = read_file(file, split, part)
        for line in said(noted(reading.dropped), noted(reading.doubts)):
            listener(Doubted(f"{file.name}: {line}"))
        return reading.part, {"data_hash": file_sha256(file)[:12]}
    if data is not None and annotations is None:
        pack = open_data(data, listener)
        return pack.part(split, part), _told_of(pack)
    raise UserError("give one of --data PACK and --annotations DIR: it says where the instances come from")
