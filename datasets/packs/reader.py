"""Read a pack: one store of crops that serves the parts of all splits, by stream (shards) or by instance (seek)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from pydantic import ValidationError

from capetune.datasets.packs import crop as geometry
from capetune.datasets.packs.manifest import INSTANCES, MANIFEST, SCHEMA, Manifest, PartEntry
from capetune.errors import UserError
from capetune.pose import Category, Crop, Instance, Part
from capetune.storage.address import open_place
from capetune.storage.folder import Folder
from capetune.storage.place import Missing, Place
from capetune.storage.shelf import Spoilt, opened


class PackDamaged(UserError):
    """Pixels of a pack can't be had, or aren't what was packed: whatever is trained on it, it isn't to blame."""


class PackAway(PackDamaged):
    """They can't be had now: of a store that doesn't answer nothing is known to be damaged."""


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
    """An opened pack; made by `open_pack`. Cheap to send to another process: it carries the place, not the rows."""

    def __init__(self, place: Place, manifest: Manifest) -> None:
        self.place = place
        self.manifest = manifest

    def __reduce__(self) -> tuple:
        return Pack, (self.place, self.manifest)

    @property
    def address(self) -> str:
        """Where it lies, as it was given."""
        return self.place.address

    @property
    def distant(self) -> bool:
        """Whether a read of it is a request to another machine."""
        return not isinstance(self.place, Folder)

    @property
    def synthetic(self) -> bool:
        return self.manifest.synthetic

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with anything in the pack; the manifest has the shards' own."""
        return hashlib.sha256(self.place.read(MANIFEST) + self._index).hexdigest()[:12]

    @cached_property
    def categories(self) -> dict[int, Category]:
        """By id, in the order of the ids; also those without an instance."""
        return {entry.id: entry.category() for entry in self.manifest.categories}

    @cached_property
    def rows(self) -> list[Row]:
        return [Row.from_json(line) for line in self._index.decode().splitlines()]

    @cached_property
    def _index(self) -> bytes:
        content = self.place.read(INSTANCES)
        if len(content) != self.manifest.index_bytes:
            raise _cut(self.place, INSTANCES, len(content), self.manifest.index_bytes)
        return content

    @cached_property
    def instances(self) -> list[Instance]:
        """Every packed instance, once; `PartEntry.instances` are indices into this list."""
        return [row.instance for row in self.rows]

    @cached_property
    def by_category(self) -> dict[int, list[Instance]]:
        """The packed instances of every category that has any, in the order of `instances`."""
        groups: dict[int, list[Instance]] = {}
        for instance in self.instances:
            groups.setdefault(instance.category_id, []).append(instance)
        return groups

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

    def open_shard(self, shard: int) -> BinaryIO:
        """Its bytes, in a file of this machine: of a distant pack the whole shard is fetched, checked and kept there.

        Raises PackDamaged where it is missing or isn't what the manifest says, PackAway where it can't be had.
        """
        entry = self.manifest.shards[shard]
        try:
            return opened(self.place, entry.name, entry.bytes, entry.sha256)
        except Missing as error:
            raise PackDamaged(f"{error}: copy the pack again or make it anew") from None
        except Spoilt as error:
            raise PackDamaged(str(error)) from None
        except UserError as error:
            raise PackAway(str(error)) from None

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
            own=self.manifest.own is not None,
        )

    def missing(self, split: int, part: str) -> tuple[Category, ...]:
        """Categories the part lists, of which no instance is packed."""
        return tuple(self.categories[id] for id in self._entry(split, part).missing)

    def crop(self, instance_id: int, size: int | None = None) -> Crop:
        """The stored pixels of an instance, by one read of its bytes alone.

        size: side of the input the pixels are meant for; decoding may then be coarser, as `decode` says. Raises
        KeyError where the instance isn't packed, PackDamaged where its pixels are damaged or can't be had.
        """
        row = self.row(instance_id)
        try:
            [jpeg] = self.place.read_ranges(self.manifest.shards[row.shard].name, [(row.offset, row.length)])
        except UserError as error:
            raise PackDamaged(str(error)) from None
        return self.decode(row, jpeg, size)

    def decode(self, row: Row, jpeg: bytes, size: int | None = None) -> Crop:
        """The crop of a row whose bytes are at hand.

        size: None for all stored pixels; else they may be halved up to three times as long as the official crop keeps
        at least `size` pixels a side. `to_source` always fits the pixels returned. Raises PackDamaged where the
        bytes are no whole jpg.
        """
        reduction = 1
        if size is not None:
            stored_side = geometry.crop_square(row.instance.box)[2] / geometry.step(row.to_source)
            while reduction < 8 and stored_side / (2 * reduction) >= size:
                reduction *= 2
        image = geometry.decode_jpeg(jpeg, reduction)
        if image is None:
            shard = self.manifest.shards[row.shard].name
            raise PackDamaged(f"{self.address}/{shard} is damaged at instance {row.instance.id}: make the pack again")
        return Crop(image, geometry.compose(row.to_source, geometry.enlarge(reduction, reduction)))

    def _entry(self, split: int, part: str) -> PartEntry:
        entry = self.manifest.part(split, part)
        if entry is None:
            there = ", ".join(f"split {s} {p}" for s, parts in self.manifest.splits.items() for p in parts)
            raise UserError(
                f"{self.address} has no split {split} {part} (it has {there}): pack its annotation file too"
            )
        return entry


def open_pack(address: Path | str) -> Pack:
    """Open a pack, in a folder or at an address, after looking at its manifest and, in a folder, at the sizes of its
    files. Checksums are looked at when a distant pack's shards are fetched.

    Raises UserError where it isn't a pack, was made by a newer capetune, or lacks a shard or part of one.
    """
    place = open_place(address)
    manifest = read_manifest(place)
    for name, size in [(INSTANCES, manifest.index_bytes), *((s.name, s.bytes) for s in manifest.shards)]:
        if isinstance(place, Folder):
            try:
                there = place.size(name)
            except Missing as error:
                raise UserError(f"{error}: copy the pack again or make it anew") from None
            if there != size:
                raise _cut(place, name, there, size)
    return Pack(place, manifest)


def _cut(place: Place, name: str, there: int, size: int) -> UserError:
    return UserError(f"{place.address}/{name} has {there} bytes, not {size}: copy the pack again or make it anew")


def check_readers(pack: Pack, ranks: int, workers: int | Literal["auto"]) -> int:
    """How many readers `ranks` workers are, with `data.workers` processes each; auto: at least one.

    Raises UserError where some reader would have no shard of its own: it would wait for ever.
    """
    each = 1 if workers == "auto" else max(1, workers)
    shards, readers = len(pack.manifest.shards), ranks * each
    if shards < readers:
        detail = f"{ranks} training workers × {each} loader processes"
        cure = f"repack with --shards {readers} or use fewer workers"
        raise UserError(f"{shards} shards can't feed {readers} readers ({detail}): {cure}")
    return readers


def read_manifest(place: Place) -> Manifest:
    """Raises UserError where it isn't a pack's, was made by a newer capetune, or names shards that lie elsewhere."""
    where = f"{place.address}/{MANIFEST}"
    try:
        content = place.read(MANIFEST)
    except Missing:
        there = not isinstance(place, Folder) or place.path.exists()
        what = f"is not a capetune pack (no {MANIFEST})" if there else "doesn't exist"
        raise UserError(
            f"{place.address} {what}; make a pack with "
            f"`capetune data pack --images DIR --out {place.address}` and --annotations DIR, MP-100's, or --coco FILE"
        ) from None
    try:
        tree = json.loads(content)
        version = tree["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{where} is not a capetune manifest; make the pack again") from None
    if version != SCHEMA:
        cure = "update capetune" if isinstance(version, int) and version > SCHEMA else "make the pack again"
        raise UserError(f"{place.address} has pack schema {version}, this capetune reads {SCHEMA}: {cure}")
    try:
        manifest = Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(p) for p in first["loc"])
        raise UserError(f"{where} is damaged at {field} ({first['msg']}); make the pack again") from None
    outside = [shard.name for shard in manifest.shards if Path(shard.name).name != shard.name]
    if outside:
        raise UserError(f"{where} names a shard outside its folder ({outside[0]}): make the pack again")
    return manifest
