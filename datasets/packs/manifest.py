"""manifest.json: what a pack holds, from which splits, and what had to be left out.

A pack is a folder of `manifest.json`, `instances.jsonl` (one `Row` a line) and `shard-00000.tar` ….
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from capetune.datasets.mp100.catalogue import Coverage, CoverageJson, coverage, known
from capetune.datasets.mp100.findings import Noted
from capetune.pose import Category, PoseGraph

SCHEMA = 1
MANIFEST = "manifest.json"
INSTANCES = "instances.jsonl"


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class CategoryEntry(Entry):
    """supercategory: the super-category; older packs, and files without any, have none."""

    id: int
    name: str
    folder: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    supercategory: str = ""

    @classmethod
    def of(cls, category: Category) -> CategoryEntry:
        graph = category.graph
        return cls(
            id=category.id,
            name=category.name,
            folder=category.folder,
            keypoints=graph.names,
            edges=graph.edges,
            supercategory=category.supercategory,
        )

    def category(self) -> Category:
        return Category(self.id, self.name, self.folder, PoseGraph(self.keypoints, self.edges), self.supercategory)


class PartEntry(Entry):
    """One annotation file. categories: ids in file order. instances: row numbers of `instances.jsonl`, category by
    category in that order, each in file order. annotated: usable instances in the file, packed or not. missing: ids of
    categories without a packed instance. dropped: annotations the official rules don't use, by reason."""

    categories: tuple[int, ...]
    instances: tuple[int, ...]
    annotated: int
    missing: tuple[int, ...]
    dropped: dict[str, int]


class ShardEntry(Entry):
    name: str
    sha256: str
    bytes: int
    samples: int


class Manifest(Entry):
    """`size`: side in pixels that the official crop has in the store, at most. `splits[split][part]`, keys as text.
    `left_out`: by reason, annotations and images that aren't packed; in older packs the images only, without ids.
    `mp100`: how much of MP-100 it is; left out of older packs, and of other data sets'. `own`: what isn't MP-100's
    though its categories may be called so: the labels, an annotation tool's, or only the split."""

    schema_version: int = SCHEMA
    capetune: str
    synthetic: bool
    size: int
    quality: int
    instances: int
    images: int
    categories: tuple[CategoryEntry, ...]
    splits: dict[str, dict[str, PartEntry]]
    index_bytes: int
    shards: tuple[ShardEntry, ...]
    left_out: dict[str, Noted]
    mp100: CoverageJson | None = None
    own: Literal["labels", "split"] | None = None

    def part(self, split: int, part: str) -> PartEntry | None:
        return self.splits.get(str(split), {}).get(part)

    @property
    def missing(self) -> tuple[int, ...]:
        """Ids of categories that have no packed instance in any part."""
        entries = [entry for parts in self.splits.values() for entry in parts.values()]
        seen = {id for entry in entries for id in entry.categories if id not in entry.missing}
        return tuple(c.id for c in self.categories if c.id not in seen)

    @property
    def coverage(self) -> Coverage | None:
        """How much of MP-100 there is an instance of; None where it is another data set's."""
        if self.own == "labels" or not any(known(c.id, c.name) for c in self.categories):
            return None
        return coverage((c.id, c.name) for c in self.categories if c.id not in self.missing)


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
