"""Who works on something that lies at a place: one process at a time, on whichever machine.

A lease is a file with a number, `lease/000003.json`, and the highest number holds. It is created only where it isn't
there yet, so one of several wins; its holder writes it anew as a sign of life. A number is never used again, so who was
silent for too long, and comes back, sees a higher one and knows.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from capetune.errors import UserError
from capetune.storage.place import Missing, Place

FOLDER = "lease"
BEAT = 10.0  # seconds between signs of life
SILENCE = 120.0  # after which another may take over: a store may be away for a minute and more
LOOK = 5.0  # seconds between looks of who waits whether another is gone; places tell whole seconds


class Superseded(UserError):
    """Another process has taken over: whatever this one did last, it must not write any more."""

    def __init__(self, address: str) -> None:
        super().__init__(f"another capetune has taken over {address}, where nothing was heard of this one for too long")


class Held(UserError):
    """Another process works there. age: seconds since its last sign of life, None where that isn't asked."""

    def __init__(self, address: str, words: str, age: float | None) -> None:
        super().__init__(f"another capetune works on {address} now ({words}); wait for it, or give another --name")
        self.age = age


@dataclass(frozen=True)
class Holder:
    """machine: this boot of a machine, or a container in it, within which `pid` says who. started: of the process, in
    seconds of the machine's clock, told apart from another's of the same pid. since: when it was taken, for people."""

    machine: str
    host: str
    user: str
    pid: int
    started: float
    since: str
    beats: int = 0
    ended: bool = False
    token: str = ""

    @classmethod
    def here(cls) -> Holder:
        started = psutil.Process().create_time()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        token = os.urandom(6).hex()  # of two that try at once, contents must differ
        return cls(_machine(), socket.gethostname(), _user(), os.getpid(), started, since, token=token)

    @property
    def words(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"


_HOLDER = TypeAdapter(Holder)


@dataclass
class Lease:
    """Held by this process. number: by which workers on other machines know that it still is."""

    place: Place
    number: int
    holder: Holder = field(default_factory=Holder.here)

    def beat(self) -> bool:
        """A sign of life. False, and nothing is written, where another has taken over."""
        if superseded(self.place, self.number):
            return False
        self._write(replace(self.holder, beats=self.holder.beats + 1))
        return True

    def end(self) -> None:
        """Give it back, for whoever comes next."""
        if not superseded(self.place, self.number):
            self._write(replace(self.holder, ended=True))

    def _write(self, holder: Holder) -> None:
        self.holder = holder
        self.place.below(FOLDER).write(_name(self.number), _content(holder))


def take(place: Place) -> Lease:
    """Raises Held where another process works there, UserError where one was first."""
    leases = place.below(FOLDER)
    numbers = _numbers(leases)
    last = max(numbers, default=0)
    found = _standing(place)
    if found is not None:
        raise Held(place.address, *found)
    lease = Lease(place, last + 1)
    first = leases.create(_name(lease.number), _content(lease.holder))
    if not first or superseded(place, lease.number):
        if first:
            leases.delete(_name(lease.number))
        raise UserError(f"another capetune has just begun to work on {place.address}; wait for it")
    for number in numbers:
        leases.delete(_name(number))
    return lease


def take_patiently(place: Place, told: Callable[[str], None]) -> Lease:
    """As `take`, for a scheduler's next try: a process of another machine that may be gone is waited for until it is
    silent for long enough. Raises Held as soon as it is heard of. told: hears once who is waited for."""
    before: float | None = None
    while True:
        try:
            return take(place)
        except Held as held:
            if held.age is None or (before is not None and held.age < before):
                raise
            if before is None:
                told(f"waiting up to {SILENCE:.0f} s: {str(held).partition(';')[0]}, and may be gone")
            before = held.age
        time.sleep(LOOK)


def who(place: Place) -> str | None:
    """Who works there now, in words; None where nobody does."""
    found = _standing(place)
    return None if found is None else found[0]


def _standing(place: Place) -> tuple[str, float | None] | None:
    """Who works there now, in words, and how long ago it was heard of where that decides."""
    leases = place.below(FOLDER)
    last = max(_numbers(leases), default=0)
    if not last:
        return None
    name = _name(last)
    try:
        holder = _read(leases, name)
        if holder is not None and holder.ended:
            return None
        if holder is not None and holder.machine == _machine():
            return (holder.words, None) if _lives(holder) else None
        age = leases.age(name)
    except Missing:
        return _standing(place)  # the next one has just taken over
    words = "somebody whose lease can't be read" if holder is None else holder.words
    if age is None:
        return words, None
    return None if age > SILENCE else (f"{words}, last sign of life {max(0.0, age):.0f} s ago", age)


def superseded(place: Place, number: int) -> bool:
    """Whether another process has taken over from who holds that number."""
    return max(_numbers(place.below(FOLDER)), default=0) > number


def _numbers(leases: Place) -> list[int]:
    stems = [Path(name).stem for name in leases.names()]
    return [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]


def _name(number: int) -> str:
    return f"{number:06d}.json"


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _read(leases: Place, name: str) -> Holder | None:
    """None where it is odd."""
    try:
        return _HOLDER.validate_json(leases.read(name))
    except ValidationError:
        return None


def _lives(holder: Holder) -> bool:
    """Of a process of this machine."""
    try:
        return abs(psutil.Process(holder.pid).create_time() - holder.started) < 1
    except psutil.NoSuchProcess:
        return False


def _machine() -> str:
    """The same for all processes that see each other's pids, and for no others."""
    parts = [socket.gethostname()]
    for file in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(file) if "ns" in file else Path(file).read_text().strip())
        except OSError:  # another system: its name has to do
            continue
    return " ".join(parts)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return str(os.getuid())
