"""Whether a pack is what was packed: every byte against the manifest, every sample against the index, every picture
decoded."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from capetune.cluster.processors import usable_cpus
from capetune.datasets.packs.crop import decode_jpeg
from capetune.datasets.packs.manifest import INSTANCES, MANIFEST, Manifest, ShardEntry, file_sha256
from capetune.datasets.packs.reader import Row, describe, read_manifest
from capetune.datasets.packs.threads import ordered
from capetune.storage.address import open_place
from capetune.storage.cache import writable_cache
from capetune.storage.folder import Folder
from capetune.storage.place import Missing, Place

MISSING = "is missing"
Where = tuple[int, int]  # first byte, length


@dataclass(frozen=True)
class Fault:
    """file: of the pack. sample: id of the instance, None where it is about the file as a whole."""

    file: str
    sample: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.sample is None else f', sample {self.sample}'}: {self.what}"


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong. samples: those of the index."""

    pack: str
    shards: int
    samples: int
    faults: tuple[Fault, ...]

    @property
    def line(self) -> str:
        """The first fault, with the first sample of its file that it spoils; and how many more there are."""
        first = self.faults[0]
        spoilt = [fault for fault in self.faults if fault.file == first.file and fault.sample is not None][:1]
        told = [f"{self.pack}/{first}", *(f"sample {fault.sample}: {fault.what}" for fault in spoilt if fault != first)]
        more = len(self.faults) - len(told)
        cure = "copy the pack again or make it anew" + (f" (--json has {more} more)" if more else "")
        return f"{'; '.join(told)}; {cure}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "faults": [asdict(fault) for fault in self.faults]}


def verify(address: Path | str, progress: Callable[[int, int], None] = lambda done, total: None) -> Verification:
    """Read all of a pack, in a folder or at an address, a shard at a time; a machine's own copies aren't asked.

    progress: hears how many samples are done, of how many. Raises UserError where there is no pack, or the place can't
    be reached.
    """
    place = open_place(address)
    manifest = read_manifest(place)
    rows, faults = _index(place, manifest)
    faults += _counts(manifest, rows)
    done = 0
    progress(done, len(rows))
    for number, entry in enumerate(manifest.shards):
        mine = [row for row in rows if row.shard == number]
        try:
            with _at_hand(place, entry.name) as file:
                faults += _bytes(file, entry)
                with file.open("rb") as stream:
                    members, broken = _members(file, entry.name)
                    faults += broken
                    for found in ordered(_check, _samples(stream, entry.name, mine, members), *_threads()):
                        faults += found
                        done += 1
                        progress(done, len(rows))
        except Missing:
            faults.append(Fault(entry.name, None, MISSING))
            done += len(mine)
    return Verification(place.address, len(manifest.shards), len(rows), tuple(faults))


def _index(place: Place, manifest: Manifest) -> tuple[list[Row], list[Fault]]:
    try:
        content = place.read(INSTANCES)
    except Missing:
        return [], [Fault(INSTANCES, None, MISSING)]
    faults, rows = [], []
    if len(content) != manifest.index_bytes:
        faults.append(Fault(INSTANCES, None, f"has {len(content)} bytes, not {manifest.index_bytes}"))
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            rows.append(Row.from_json(line.decode()))
        except (ValueError, KeyError, TypeError):
            faults.append(Fault(INSTANCES, None, f"line {number} is no instance"))
    return rows, faults


def _counts(manifest: Manifest, rows: list[Row]) -> Iterator[Fault]:
    if len(rows) != manifest.instances:
        yield Fault(INSTANCES, None, f"has {len(rows)} instances, not {manifest.instances}")
    for number, entry in enumerate(manifest.shards):
        there = sum(row.shard == number for row in rows)
        if there != entry.samples:
            yield Fault(entry.name, None, f"{INSTANCES} has {there} samples of it, not {entry.samples}")
    for split, parts in manifest.splits.items():
        for part, listed in parts.items():
            if any(not 0 <= row < manifest.instances for row in listed.instances):
                yield Fault(MANIFEST, None, f"split {split} {part} names instances that aren't there")


@contextmanager
def _at_hand(place: Place, name: str) -> Iterator[Path]:
    """The file itself, or a copy that goes afterwards. Raises Missing."""
    if isinstance(place, Folder):
        place.size(name)
        yield place.path / name
        return
    with TemporaryDirectory(prefix="verify-", dir=writable_cache()) as folder:
        file = Path(folder) / name
        place.fetch(name, file)
        yield file


def _bytes(file: Path, entry: ShardEntry) -> Iterator[Fault]:
    if (size := file.stat().st_size) != entry.bytes:
        yield Fault(entry.name, None, f"has {size} bytes, not {entry.bytes}")
    elif file_sha256(file) != entry.sha256:
        yield Fault(entry.name, None, "isn't what the manifest says (sha256)")


def _members(file: Path, name: str) -> tuple[dict[str, Where], list[Fault]]:
    """Where each file in a tar lies, as far as it can be read."""
    found: dict[str, Where] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                found[member.name] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError) as error:
        last = f" after {list(found)[-1]}" if found else ""
        return found, [Fault(name, None, f"can't be read as a tar{last} ({error})")]
    return found, []


@dataclass(frozen=True, eq=False)
class _Sample:
    """A row and what lies in its shard for it; None where that isn't there."""

    shard: str
    row: Row
    jpeg: bytes | None
    record: bytes | None
    moved: bool

    def fault(self, what: str) -> Fault:
        return Fault(self.shard, self.row.instance.id, what)


def _samples(stream: BinaryIO, shard: str, rows: list[Row], members: dict[str, Where]) -> Iterator[_Sample]:
    def read(place: Where | None) -> bytes | None:
        if place is None:
            return None
        stream.seek(place[0])
        return stream.read(place[1])

    for row in sorted(rows, key=lambda row: row.offset):
        jpeg, record = (members.get(f"{row.instance.id}.{kind}") for kind in ("jpg", "json"))
        moved = jpeg is not None and jpeg != (row.offset, row.length)
        yield _Sample(shard, row, read(jpeg), read(record), moved)


def _check(sample: _Sample) -> list[Fault]:
    faults = []
    if sample.jpeg is None:
        faults.append(sample.fault("its jpg is missing"))
    elif sample.moved:
        faults.append(sample.fault(f"its jpg isn't where {INSTANCES} says"))
    elif not sample.jpeg or decode_jpeg(sample.jpeg) is None:
        faults.append(sample.fault("its jpg can't be decoded"))
    if sample.record is None:
        faults.append(sample.fault("its json is missing"))
    elif not _same(sample.record, sample.row):
        faults.append(sample.fault(f"its json isn't what {INSTANCES} says"))
    return faults


def _same(record: bytes, row: Row) -> bool:
    try:
        return json.loads(record) == describe(row.instance, row.to_source)
    except ValueError:
        return False


def _threads() -> tuple[int, int]:
    return usable_cpus(), 4 * usable_cpus()
