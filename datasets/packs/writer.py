"""Write a pack: each instance once, as a small jpg in WebDataset shards, for the parts of all splits together."""

from __future__ import annotations

import json
import socket
import tarfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from capetune import __version__
from capetune.cluster.processors import usable_cpus
from capetune.datasets.mp100.findings import Finding, line, noted, said
from capetune.datasets.mp100.gather import Gathered, gather
from capetune.datasets.mp100.pictures import Located, Picture, Unusable, locate, pictures
from capetune.datasets.packs.cutting import Cut, cut_image
from capetune.datasets.packs.manifest import (
    INSTANCES,
    MANIFEST,
    CategoryEntry,
    Manifest,
    PartEntry,
    ShardEntry,
    file_sha256,
)
from capetune.datasets.packs.reader import Row, describe
from capetune.datasets.packs.threads import ordered
from capetune.errors import UserError
from capetune.storage.address import is_address, open_place
from capetune.storage.cache import writable_cache
from capetune.storage.place import Place
from capetune.storage.whole import whole

ORDER_SEED = 0  # of the instances in the shards; training shuffles anew, so there is nothing to choose here
FEWEST_SHARDS = 16
SHARD_INSTANCES = 1000
MOST_SHARDS = 512  # all are open at once while writing

Result = TypeVar("Result")
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
_Cuts = tuple[Picture, list[Cut], list[Finding] | Unusable]  # of a picture


def pack(
    annotations: Path | Gathered,
    images: Path,
    out: Path | str,
    shards: int | None = None,
    size: int = 512,
    quality: int = 92,
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[str], None] = lambda line: None,
    spread: Spread | None = None,
) -> Manifest:
    """Pack what the annotation files name and the images folder holds; the same input gives the same bytes.

    annotations: a folder of MP-100's files, or what has been read already.
    size: side in pixels that the official crop gets in the store, at most. Annotations that the reader drops, and
    images that are missing, unreadable or of another size than annotated, are left out and named in the manifest.
    `out`, a folder or an address, appears only when it is whole; what goes to an address is made in the cache folder
    first, and needs room there. progress: hears how many images are done, of how many. tell: hears a line for each
    kind of thing that is packed, but may be wrong. spread: `cluster.spread.spread`, where all machines of a cluster are
    to cut; None: the threads of this one. The shards are written here, and are the same.

    Raises UserError where `out` exists, no image is found, the annotation files contradict each other, the shards
    can't be written, or, if `strict`, anything is left out.
    """
    if is_address(out):
        return _pack_away(open_place(out), annotations, images, shards, size, quality, strict, progress, tell, spread)
    images, out = Path(images), Path(out)
    if out.exists():
        raise UserError(f"{out} exists already: remove it or give another --out")
    if shards is not None and not 1 <= shards <= MOST_SHARDS:
        raise UserError(f"--shards must be between 1 and {MOST_SHARDS}, not {shards}")
    gathered = annotations if isinstance(annotations, Gathered) else gather(Path(annotations))
    located = _locate(gathered, images)
    notes = _Notes([*gathered.dropped, *located.lost], [*gathered.doubts, *located.doubts], strict)
    count = sum(len(picture.instances) for picture, _ in located.found)
    shards = min(count, shards or min(MOST_SHARDS, max(FEWEST_SHARDS, count // SHARD_INSTANCES)))

    with whole(out) as aside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; set here, for what a thread sets holds for all of them
        order = np.random.default_rng(ORDER_SEED).permutation(len(located.found))
        shuffled = (located.found[i] for i in order)
        if spread is None:
            job = partial(_cut, size=size, quality=quality)
            results = ordered(job, shuffled, usable_cpus(), 4 * usable_cpus())
        else:
            there = ((picture, file.absolute(), file.stat().st_size) for picture, file in shuffled)
            results = spread(partial(_cut_elsewhere, size=size, quality=quality), there)
        places = _write_shards(aside, shards, _counted(results, len(order), progress), notes)
        manifest = _write_index(aside, gathered, places, size, quality, notes)
    for told in (*gathered.notes, *said({}, noted(notes.doubts))):
        tell(told)
    return manifest


def _pack_away(place: Place, annotations: Path | Gathered, images: Path, *options: Any) -> Manifest:
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


class _Notes:
    """What is left out, and what is doubtful. strict: nothing may be left out; the first of it ends the packing."""

    def __init__(self, left_out: list[Finding], doubts: list[Finding], strict: bool) -> None:
        self.left_out: list[Finding] = []
        self.doubts = doubts
        self.strict = strict
        self.leave_out(left_out)

    def leave_out(self, findings: list[Finding]) -> None:
        self.left_out += findings
        if self.strict and findings:
            raise UserError(f"{_why(findings)}; without --strict this is left out")


def _locate(gathered: Gathered, images: Path) -> Located:
    """The pictures that are there; a UserError where not one is."""
    annotated = pictures(gathered.instances.values())
    located = locate(annotated, images)
    if not annotated:
        why = f" ({_why(gathered.dropped)})" if gathered.dropped else ""
        raise UserError(f"the annotation files hold no usable instance: there is nothing to pack{why}")
    if not located.found:
        name = annotated[0].name
        near = [folder for folder in (images / "images", images.parent) if (folder / name).is_file()]
        hints = [f"{told.reason}: {told.detail}" for told in (*located.doubts, *located.lost) if told.detail]
        cure = f"did you mean --images {near[0]}?" if near else "give the folder above the image folders"
        if hints and not near:
            cure = f"{hints[0]}; file_name and the name of the file must agree"
        raise UserError(f"none of the {len(annotated)} images is there, {images / name} for one: {cure}")
    return located


def _why(findings: Sequence[Finding]) -> str:
    return "; ".join(line(reason, entry) for reason, entry in noted(findings).items())


def _cut(found: tuple[Picture, Path], size: int, quality: int) -> _Cuts:
    """The cuts of a picture and what is doubtful about it, or the reason why it is left out."""
    picture, file = found
    try:
        cuts, doubts = cut_image(file, picture.instances, size, quality)
    except Unusable as why:
        return picture, [], why
    return picture, cuts, [finding for reason in doubts for finding in picture.findings(reason)]


def _cut_elsewhere(found: tuple[Picture, Path, int], size: int, quality: int) -> _Cuts:
    """The same on another machine, which must see the file as this one does: one that it lacks isn't missing. Raises
    UserError where it doesn't."""
    picture, file, length = found
    try:
        same = file.stat().st_size == length
    except OSError:
        same = False
    if not same:
        raise UserError(
            f"machine {socket.gethostname()} doesn't see {file} as this one does: give --images a folder that all "
            "machines share"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _cut((picture, file), size, quality)


def _counted(results: Iterable[Result], total: int, progress: Callable[[int, int], None]) -> Iterator[Result]:
    progress(0, total)
    for done, result in enumerate(results, start=1):
        yield result
        progress(done, total)


def _write_shards(folder: Path, count: int, results: Iterable[_Cuts], notes: _Notes) -> dict[int, tuple[Cut, int]]:
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
        for picture, cuts, found in results:
            if isinstance(found, Unusable):
                notes.leave_out(list(picture.findings(found.reason, found.detail)))
                continue
            notes.doubts += found
            for cut in cuts:
                shard = len(places) % count
                record = json.dumps(describe(cut.instance, cut.to_source)).encode()
                writers[shard].write({"__key__": str(cut.instance.id), "jpg": cut.jpeg, "json": record})
                places[cut.instance.id] = (Cut(cut.instance, b"", cut.to_source), shard)
    if not places:
        raise UserError(f"not one image can be packed ({_why(notes.left_out)}): check the images")
    for i in range(len(places), count):  # fewer instances could be read than there are shards
        (folder / _shard_name(i)).unlink()
    return places


def _write_index(
    folder: Path, gathered: Gathered, places: dict[int, tuple[Cut, int]], size: int, quality: int, notes: _Notes
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
        left_out=noted(notes.left_out),
        own=gathered.own,
    )
    if covered := manifest.coverage:
        manifest = manifest.model_copy(update={"mp100": covered.to_json()})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1, exclude_none=True), encoding="utf-8")
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
