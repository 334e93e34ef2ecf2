"""Write a pack: each instance once, as a small jpg in WebDataset shards, for the parts of all splits together."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from capetune import __version__
from capetune.cluster.processors import usable_cpus
from capetune.datasets.mp100.gather import Gathered, gather
from capetune.datasets.packs.cutting import MISSING, OUTSIDE, Cut, Unusable, cut_image
from capetune.datasets.packs.manifest import (
    INSTANCES,
    MANIFEST,
    CategoryEntry,
    LeftOut,
    Manifest,
    PartEntry,
    ShardEntry,
    file_sha256,
)
from capetune.datasets.packs.reader import Row, describe
from capetune.datasets.packs.threads import ordered
from capetune.errors import UserError
from capetune.pose import Instance
from capetune.storage.address import is_address, open_place
from capetune.storage.cache import writable_cache
from capetune.storage.place import Place
from capetune.storage.whole import whole

ORDER_SEED = 0  # of the instances in the shards; training shuffles anew, so there is nothing to choose here
FEWEST_SHARDS = 16
SHARD_INSTANCES = 1000
MOST_SHARDS = 512  # all are open at once while writing

Result = TypeVar("Result")
Image = tuple[str, list[Instance]]  # file name and the instances on it, all annotated with the same image size


def pack(
    annotations: Path,
    images: Path,
    out: Path | str,
    shards: int | None = None,
    size: int = 512,
    quality: int = 92,
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Pack what the annotation files name and the images folder holds; the same input gives the same bytes.

    size: side in pixels that the official crop gets in the store, at most. Images that are missing, unreadable or of
    another size than annotated are left out and named in the manifest. `out`, a folder or an address, appears only when
    it is whole; what goes to an address is made in the cache folder first, and needs room there. progress: hears how
    many images are done, of how many.

    Raises UserError where `out` exists, no image is found, the annotation files contradict each other, the shards
    can't be written, or, if `strict`, anything is left out.
    """
    if is_address(out):
        return _pack_away(open_place(out), annotations, images, shards, size, quality, strict, progress)
    annotations, images, out = Path(annotations), Path(images), Path(out)
    if out.exists():
        raise UserError(f"{out} exists already: remove it or give another --out")
    if shards is not None and not 1 <= shards <= MOST_SHARDS:
        raise UserError(f"--shards must be between 1 and {MOST_SHARDS}, not {shards}")
    gathered = gather(annotations)
    left_out = _LeftOut(strict)
    found = list(_find(gathered, images, left_out))
    count = sum(len(group) for _, group in found)
    shards = min(count, shards or min(MOST_SHARDS, max(FEWEST_SHARDS, count // SHARD_INSTANCES)))

    with whole(out) as aside:
        job = partial(_cut, images=images, size=size, quality=quality)
        results = _counted(ordered(job, found, usable_cpus(), 4 * usable_cpus()), len(found), progress)
        places = _write_shards(aside, shards, results, left_out)
        manifest = _write_index(aside, gathered, places, size, quality, left_out)
    return manifest


def _pack_away(place: Place, annotations: Path, images: Path, *options: Any) -> Manifest:
    """Pack into the cache folder, send it there, the manifest last: until then it is no pack."""
    if any(True for _ in place.names()):
        raise UserError(f"{place.address} holds something already: remove it or give another --out")
    with TemporaryDirectory(prefix="pack-", dir=writable_cache()) as folder:
        made = Path(folder) / "pack"
        manifest = pack(annotations, images, made, *options)
        names = [*(shard.name for shard in manifest.shards), INSTANCES, MANIFEST]
        try:
            for name in names:
                place.send(made / name, name)
        except BaseException:
            with suppress(UserError):  # what matters is the first error
                for name in reversed(names):
                    place.delete(name)
            raise
    return manifest


class _LeftOut:
    """Image files that aren't packed, by reason. strict: the first of them ends the packing."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.files: dict[str, list[str]] = {}
        self.instances: Counter[str] = Counter()

    def add(self, reason: str, file: str, instances: int) -> None:
        self.files.setdefault(reason, []).append(file)
        self.instances[reason] += instances
        if self.strict and reason not in (MISSING, OUTSIDE):  # those are counted up first, then refused together
            raise UserError(f"{reason}: {file}; without --strict it is left out")

    def entries(self) -> dict[str, LeftOut]:
        return {
            reason: LeftOut(files=tuple(sorted(files)), instances=self.instances[reason])
            for reason, files in sorted(self.files.items())
        }


def _find(gathered: Gathered, images: Path, left_out: _LeftOut) -> Iterator[Image]:
    """The images that are there, in a shuffled order that depends on nothing but the annotations."""
    if not images.is_dir():
        raise UserError(f"{images} is not a folder: give the one that holds the image folders of MP-100")
    groups: dict[tuple[str, tuple[int, int]], list[Instance]] = {}
    for instance in gathered.instances.values():
        groups.setdefault((instance.file_name, instance.image_size), []).append(instance)
    if not groups:
        raise UserError("the annotation files hold no usable instance: there is nothing to pack")
    found = []
    for (name, _), group in groups.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            left_out.add(OUTSIDE, name, len(group))
        elif not (images / name).is_file():
            left_out.add(MISSING, name, len(group))
        else:
            found.append((name, group))
    if not found:
        name = next(iter(groups))[0]
        near = [folder for folder in (images / "images", images.parent) if (folder / name).is_file()]
        cure = f"did you mean --images {near[0]}?" if near else "give the folder above the image folders"
        raise UserError(f"none of the {len(groups)} images is there, {images / name} for one: {cure}")
    if left_out.strict and left_out.files:
        absent = [file for files in left_out.files.values() for file in files]
        raise UserError(
            f"images missing: {len(absent)} of {len(groups)}, {images / absent[0]} for one; "
            "without --strict they are left out"
        )
    order = np.random.default_rng(ORDER_SEED).permutation(len(found))
    return (found[i] for i in order)


def _cut(image: Image, images: Path, size: int, quality: int) -> tuple[Image, list[Cut] | str]:
    """The cuts of an image, or the reason why it is left out."""
    name, group = image
    try:
        return image, cut_image(images / name, group, size, quality)
    except Unusable as reason:
        return image, str(reason)


def _counted(results: Iterable[Result], total: int, progress: Callable[[int, int], None]) -> Iterator[Result]:
    progress(0, total)
    for done, result in enumerate(results, start=1):
        yield result
        progress(done, total)


def _write_shards(
    folder: Path, count: int, results: Iterable[tuple[Image, list[Cut] | str]], left_out: _LeftOut
) -> dict[int, tuple[Cut, int]]:
    """Write the cuts round robin, so that shards differ by one instance at most. Returns cut and shard by id.

    The cuts returned have lost their pixels.
    """
    import webdataset  # brings torch along: a few seconds that a mistaken call shouldn't wait for

    places: dict[int, tuple[Cut, int]] = {}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(webdataset.TarWriter(str(folder / _shard_name(i)), encoder=False, mtime=0))
            for i in range(count)
        ]
        for (name, group), cuts in results:
            if isinstance(cuts, str):
                left_out.add(cuts, name, len(group))
                continue
            for cut in cuts:
                shard = len(places) % count
                record = json.dumps(describe(cut.instance, cut.to_source)).encode()
                writers[shard].write({"__key__": str(cut.instance.id), "jpg": cut.jpeg, "json": record})
                places[cut.instance.id] = (Cut(cut.instance, b"", cut.to_source), shard)
    if not places:
        reasons = ", ".join(f"{len(files)} × {reason}" for reason, files in left_out.files.items())
        raise UserError(f"not one image can be packed ({reasons}): check the images")
    for i in range(len(places), count):  # fewer instances could be read than there are shards
        (folder / _shard_name(i)).unlink()
    return places


def _write_index(
    folder: Path, gathered: Gathered, places: dict[int, tuple[Cut, int]], size: int, quality: int, left_out: _LeftOut
) -> Manifest:
    names = [_shard_name(i) for i in range(1 + max(shard for _, shard in places.values()))]
    members = [_jpeg_places(folder / name) for name in names]
    rows: dict[int, int] = {}
    with (folder / INSTANCES).open("w", encoding="utf-8") as stream:
        for id in gathered.instances:
            if id in places:
                rows[id] = len(rows)
                cut, shard = places[id]
                stream.write(Row(cut.instance, cut.to_source, shard, *members[shard][id]).to_json() + "\n")
    splits: dict[str, dict[str, PartEntry]] = {}
    for (split, part), reading in gathered.readings.items():
        packed = {id: [rows[i.id] for i in group if i.id in rows] for id, group in reading.part.instances.items()}
        splits.setdefault(str(split), {})[part] = PartEntry(
            categories=tuple(packed),
            instances=tuple(row for group in packed.values() for row in group),
            annotated=len(reading.part),
            missing=tuple(id for id, group in packed.items() if not group),
            dropped=dict(sorted(Counter(finding.reason for finding in reading.dropped).items())),
        )
    manifest = Manifest(
        capetune=__version__,
        synthetic=gathered.synthetic,
        size=size,
        quality=quality,
        instances=len(rows),
        images=len({cut.instance.file_name for cut, _ in places.values()}),
        categories=tuple(CategoryEntry.of(gathered.categories[id]) for id in sorted(gathered.categories)),
        splits=splits,
        index_bytes=(folder / INSTANCES).stat().st_size,
        shards=tuple(
            ShardEntry(
                name=name,
                sha256=file_sha256(folder / name),
                bytes=(folder / name).stat().st_size,
                samples=len(members[i]),
            )
            for i, name in enumerate(names)
        ),
        left_out=left_out.entries(),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return manifest


def _jpeg_places(shard: Path) -> dict[int, tuple[int, int]]:
    """Offset and length of each jpg in a finished tar, by instance id."""
    with tarfile.open(shard, "r:") as tar:
        return {
            int(member.name.removesuffix(".jpg")): (member.offset_data, member.size)
            for member in tar
            if member.name.endswith(".jpg")
        }


def _shard_name(index: int) -> str:
    return f"shard-{index:05d}.tar"
