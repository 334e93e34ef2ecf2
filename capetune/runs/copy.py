"""Copies of runs, or of trainings, that lie at an address: what is there is fetched, what is written here is sent.

The truth is at the address, in whole files. A checkpoint counts once its meta.json is there, which comes after the
weights; a run's record comes last of all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from capetune.errors import UserError
from capetune.runs.checkpoints import META, UNDER_WAY, latest_checkpoint
from capetune.runs.history import HISTORY
from capetune.runs.record import JOURNAL, RECORD, TRACE
from capetune.storage.address import open_place
from capetune.storage.lease import FOLDER as LEASE
from capetune.storage.lease import Superseded, superseded
from capetune.storage.place import Missing, Place
from capetune.storage.scratch import address_of

AT_ONCE = 16  # requests
Mark = tuple[int, int]  # of a file: when it was changed, in ns, and its bytes
Wanted = Callable[[str], bool]


def weights(name: str) -> bool:
    """Of a checkpoint, what is large."""
    return ("epoch-" in name or UNDER_WAY in name.split("/")) and not name.endswith(".json")


def small(name: str) -> bool:
    """What says something of a run: all but weights, kept features, and what is drawn or logged for other programs."""
    parts = name.split("/")
    drawn = parts[-1].startswith("events.out") or {TRACE, "features", "figures", "wandb", "mlruns"} & set(parts)
    return not weights(name) and not drawn and not name.endswith(".html") and LEASE not in parts


def sendable(name: str) -> bool:
    """What belongs at the address: not the study, which is made anew, nor features, which every machine can compute."""
    parts = name.split("/")
    return JOURNAL not in parts[-1] and "features" not in parts and LEASE not in parts


@dataclass
class Copy:
    """folder: of this machine, for what lies at `place`. sends: whether a changed file of that name is this process's
    to send. known: of the files that are at the place, what the copy here is like; None: it isn't here."""

    place: Place
    folder: Path
    sends: Wanted = sendable
    known: dict[str, Mark | None] = field(default_factory=dict)

    def fetch(self, below: str = "", wanted: Wanted = small) -> None:
        """Make the folder's part `below` what the place holds there now, as far as it is wanted."""
        start = f"{below}/" if below else ""
        there = [start + name for name in (self.place.below(below) if below else self.place).names()]
        odd = next((name for name in there if {"", ".", ".."} & set(name.split("/"))), None)
        if odd is not None:
            raise UserError(f"{self.place.address} holds {odd!r}, which is no name of a file; remove it")
        for name in [name for name in self.known if name.startswith(start)]:
            del self.known[name]
        for name in self._here(start).keys() - set(there):
            (self.folder / name).unlink()
        for name in there:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.known[name] = None
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._fetch, filter(wanted, there)))

    def _fetch(self, name: str) -> None:
        try:
            self.place.fetch(name, self.folder / name)
            self.known[name] = _mark(self.folder / name)
        except Missing:  # it was removed since it was listed
            self.known.pop(name, None)

    def send(self) -> None:
        """Send what was changed since, then remove there what was removed here. Raises UserError where that fails; what
        is left comes with the next one."""
        here = {name: mark for name, mark in self._here("").items() if self.sends(name)}
        changed = sorted((name for name, mark in here.items() if self.known.get(name) != mark), key=_place_in_line)
        for meta in {f"{name.rpartition('/')[0]}/{META}" for name in changed if weights(name)} & self.known.keys():
            self.place.delete(meta)  # a checkpoint that is written over isn't whole meanwhile
            del self.known[meta]
        for name in changed:
            try:
                self.place.send(self.folder / name, name)
            except Missing:  # it was removed since
                continue
            self.known[name] = here[name]
        for name in sorted(self._gone(here), key=lambda name: not name.endswith(META)):
            self.place.delete(name)
            del self.known[name]

    def _gone(self, here: dict[str, Mark]) -> list[str]:
        """What is at the place, and was here or in a folder here that is gone."""
        gone = []
        for name, mark in self.known.items():
            removed = mark is not None and name not in here and self.sends(name)
            if removed or not (self.folder / name).parent.is_dir():
                gone.append(name)
        return gone

    def _here(self, start: str) -> dict[str, Mark]:
        found = {}
        for file in (self.folder / start).rglob("*"):
            name = file.relative_to(self.folder).as_posix()
            if not any(part.startswith(".") for part in name.split("/")) and file.is_file():
                try:
                    found[name] = _mark(file)
                except FileNotFoundError:
                    continue
        return found


def _mark(file: Path) -> Mark:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


def _place_in_line(name: str) -> tuple[int, str]:
    last = name.rpartition("/")[2]
    order = 0 if weights(name) else 1 if last == META else 2 if last == HISTORY else 4 if last == RECORD else 3
    return order, name


def bring(folder: Path, wanted: Wanted = small) -> None:
    """Where a folder is a copy of what lies at an address, fetch what is wanted of it; nothing where it is itself."""
    address = address_of(folder)
    if address is not None:
        folder.mkdir(parents=True, exist_ok=True)
        Copy(open_place(address), folder).fetch(wanted=wanted)


def carry(folder: Path, sends: Wanted) -> None:
    """The other way round: where a folder is a copy, send what is to be sent of it."""
    address = address_of(folder)
    if address is not None:
        Copy(open_place(address), folder, sends).send()


def evaluated(name: str) -> bool:
    """Of a checkpoint, what isn't for going on with its training."""
    return not name.endswith(".pt")


def glance(name: str) -> bool:
    """What a list of runs needs of each, where names begin with the run's."""
    parts = name.split("/")
    listed = len(parts) == 2 or (parts[-1] == META and small(name))
    return listed and small(name)


def fetch_latest(copy: Copy) -> None:
    """All that a training goes on from: what is small, and of the latest whole checkpoint, and of an epoch that was
    under way, the rest too."""
    copy.fetch()
    if any(name.startswith(f"{UNDER_WAY}/") for name in copy.known):
        copy.fetch(UNDER_WAY, wanted=lambda name: True)
    latest = latest_checkpoint(copy.folder)
    if latest is not None:
        copy.fetch(latest[0].relative_to(copy.folder).as_posix(), wanted=lambda name: True)


class Sender:
    """Sends a copy's changes beside the work that makes them, one sending at a time."""

    def __init__(self, copy: Copy, run: Place, lease: int) -> None:
        """run: where the lease lies under which this is done, and its number."""
        self.copy = copy
        self.run = run
        self.lease = lease
        self.waited = 0.0  # seconds
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="sender")
        self.sent = self.pool.submit(lambda: None)

    def begin(self) -> None:
        """Send what there is now; the folder is not to be written to before `wait`."""
        self.sent = self.pool.submit(self._send)

    def _send(self) -> None:
        if superseded(self.run, self.lease):
            raise Superseded(self.run.address)
        self.copy.send()

    def wait(self) -> str | None:
        """Until it is sent. Returns why it isn't, where it failed: it comes with the next. Raises Superseded."""
        begun = time.monotonic()
        try:
            self.sent.result()
        except Superseded:
            raise
        except UserError as error:
            return str(error)
        finally:
            self.waited += time.monotonic() - begun
        return None

    def take_waited(self) -> float:
        """The seconds that `wait` took since they were last taken."""
        waited, self.waited = self.waited, 0.0
        return waited

    def end(self) -> None:
        """Send the rest. Raises UserError where that fails."""
        try:
            self.wait()
            self._send()
        finally:
            self.pool.shutdown()
