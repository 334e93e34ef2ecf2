"""Read a pack: one store of crops that serves the parts of all splits, by stream (shards) or by instance (seek)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from capetune.datasets.packs import crop as geometry
from capetune.datasets.packs.manifest import INSTANCES, MANIFEST, SCHEMA, Manifest, PartEntry
from capetune.errors import UserError
from capetune.pose import Category, Crop, Instance, Part


@dataclass(frozen=True, eq=False)
class Row:
    """A line of `instances.jsonl`: an instance and where its pixels lie.

    to_source: float64 (2, 3), stored pixels to source pixels. shard: index into the manifest's shards. offset, length:
    the bytes of the jpg inside that file.
    """

    instance: Instance
    to_source: np.ndarray
    shard: int
    offset: int
    length: int

    def to_json(self) -> str:
        place = {"shard": self.shard, "offset": self.offset, "length": self.length}
        return json.dumps({**describe(self.instance, self.to_source), **place})

    @classmethod
    def from_json(cls, line: str) -> Row:
        fields = json.loads(line)
        instance = Instance(
            id=fields["id"],
            image_id=fields["image_id"],
            category_id=fields["category"],
            file_name=fields["file_name"],
            image_size=tuple(fields["image_size"]),
            box=np.array(fields["box"], dtype=np.float64),
            xy=np.array(fields["xy"], dtype=np.float64).reshape(-1, 2),
            visible=np.array(fields["visible"], dtype=bool),
        )
        to_source = np.array(fields["to_source"], dtype=np.float64).reshape(2, 3)
        return cls(instance, to_source, fields["shard"], fields["offset"], fields["length"])


def describe(instance: Instance, to_source: np.ndarray) -> dict:
    """What the pack says about an instance, in `instances.jsonl` and beside its jpg; arrays are flattened."""
    return {
        "id": instance.id,
        "image_id": instance.image_id,
        "category": instance.category_id,
        "file_name": instance.file_name,
        "image_size": list(instance.image_size),
        "box": instance.box.tolist(),
        "xy": instance.xy.ravel().tolist(),
        "visible": instance.visible.astype(int).tolist(),
        "to_source": to_source.ravel().tolist(),
    }


class Pack:
    """An opened pack; made by `open_pack`. Cheap to send to another process: it carries the path, not the rows."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def __reduce__(self) -> tuple:
        return Pack, (self.path, self.manifest)

    @property
    def synthetic(self) -> bool:
        return self.manifest.synthetic

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with anything in the pack; the manifest has the shards' own."""
        content = (self.path / MANIFEST).read_bytes() + (self.path / INSTANCES).read_bytes()
        return hashlib.sha256(content).hexdigest()[:12]

    @cached_property
    def categories(self) -> dict[int, Category]:
        """By id, in the order of the ids; also those without an instance."""
        return {entry.id: entry.category() for entry in self.manifest.categories}

    @cached_property
    def rows(self) -> list[Row]:
        lines = (self.path / INSTANCES).read_text(encoding="utf-8").splitlines()
        return [Row.from_json(line) for line in lines]

    @cached_property
    def instances(self) -> list[Instance]:
        """Every packed instance, once; `PartEntry.instances` are indices into this list."""
        return [row.instance for row in self.rows]

    @cached_property
    def _by_id(self) -> dict[int, Row]:
        return {row.instance.id: row for row in self.rows}

    @cached_property
    def _by_shard(self) -> dict[int, list[Row]]:
        groups: dict[int, list[Row]] = {}
        for row in sorted(self.rows, key=lambda row: row.offset):
            groups.setdefault(row.shard, []).append(row)
        return groups

    def in_shard(self, shard: int) -> list[Row]:
        """The rows of one shard, in the order of its bytes."""
        return self._by_shard.get(shard, [])

    @property
    def shard_paths(self) -> list[Path]:
        return [self.path / shard.name for shard in self.manifest.shards]

    def row(self, instance_id: int) -> Row:
        """Raises KeyError where the instance isn't packed."""
        return self._by_id[instance_id]

    def part(self, split: int, part: str) -> Part:
        """The packed instances of a part: categories in file order, also empty ones; instances in file order.

        Raises UserError where the pack was made without that part's annotation file.
        """
        entry = self._entry(split, part)
        groups: dict[int, list[Instance]] = {id: [] for id in entry.categories}
        for row in entry.instances:
            instance = self.instances[row]
            groups[instance.category_id].append(instance)
        return Part(
            split=split,
            part=part,
            categories=tuple(self.categories[id] for id in entry.categories),
            instances={id: tuple(group) for id, group in groups.items()},
            synthetic=self.synthetic,
            left_out=entry.annotated - len(entry.instances),
        )

    def missing(self, split: int, part: str) -> tuple[Category, ...]:
        """Categories the part lists, of which no instance is packed."""
        return tuple(self.categories[id] for id in self._entry(split, part).missing)

    def crop(self, instance_id: int, size: int | None = None) -> Crop:
        """The stored pixels of an instance, by one seek and read.

        size: side of the input the pixels are meant for; decoding may then be coarser, as `decode` says. Raises
        KeyError where the instance isn't packed, UserError where its pixels are damaged.
        """
        row = self.row(instance_id)
        with self.shard_paths[row.shard].open("rb") as stream:
            stream.seek(row.offset)
            return self.decode(row, stream.read(row.length), size)

    def decode(self, row: Row, jpeg: bytes, size: int | None = None) -> Crop:
        """The crop of a row whose bytes are at hand.

        size: None for all stored pixels; else they may be halved up to three times as long as the official crop keeps
        at least `size` pixels a side. `to_source` always fits the pixels returned. Raises UserError where the bytes
        are no whole jpg.
        """
        reduction = 1
        if size is not None:
            stored_side = geometry.crop_square(row.instance.box)[2] / geometry.step(row.to_source)
            while reduction < 8 and stored_side / (2 * reduction) >= size:
                reduction *= 2
        image = geometry.decode_jpeg(jpeg, reduction)
        if image is None:
            shard = self.path / self.manifest.shards[row.shard].name
            raise UserError(f"{shard} is damaged at instance {row.instance.id}: make the pack again")
        return Crop(image, geometry.compose(row.to_source, geometry.enlarge(reduction, reduction)))

    def _entry(self, split: int, part: str) -> PartEntry:
        entry = self.manifest.part(split, part)
        if entry is None:
            there = ", ".join(f"split {s} {p}" for s, parts in self.manifest.splits.items() for p in parts)
            raise UserError(f"{self.path} has no split {split} {part} (it has {there}): pack its annotation file too")
        return entry


def open_pack(path: Path | str) -> Pack:
    """Open a pack after looking at its manifest and the sizes of its files (not their checksums).

    Raises UserError where the folder isn't a pack, was made by a newer capetune, or lacks a shard or part of one.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    for name, size in [(INSTANCES, manifest.index_bytes), *((s.name, s.bytes) for s in manifest.shards)]:
        if Path(name).name != name:
            raise UserError(f"{path / MANIFEST} names a shard outside its folder ({name}): make the pack again")
        if not (path / name).is_file():
            raise UserError(f"{path / name} is missing: copy the pack again or make it anew")
        there = (path / name).stat().st_size
        if there != size:
            raise UserError(f"{path / name} has {there} bytes, not {size}: copy the pack again or make it anew")
    return Pack(path, manifest)


def check_readers(pack: Pack, ranks: int, workers: int) -> None:
    """Raises UserError where some reader would have no shard of its own: it would wait for ever."""
    shards, readers = len(pack.shard_paths), ranks * max(1, workers)
    if shards < readers:
        detail = f"{ranks} training workers × {max(1, workers)} loader processes"
        cure = f"repack with --shards {readers} or use fewer workers"
        raise UserError(f"{shards} shards can't feed {readers} readers ({detail}): {cure}")


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    if not file.is_file():
        what = f"is not a capetune pack (no {MANIFEST})" if path.exists() else "doesn't exist"
        raise UserError(
            f"{path} {what}; make a pack with `capetune data pack --annotations DIR --images DIR --out {path}`"
        )
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        version = tree["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is not a capetune manifest; make the pack again") from None
    if version != SCHEMA:
        cure = "update capetune" if isinstance(version, int) and version > SCHEMA else "make the pack again"
        raise UserError(f"{path} has pack schema {version}, this capetune reads {SCHEMA}: {cure}")
    try:
        return Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise UserError(f"{file} is damaged at {where} ({first['msg']}); make the pack again") from None
