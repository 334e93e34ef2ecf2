"""Where runs are kept, be it a folder or an address, and the one process that works on a run."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capetune.errors import UserError
from capetune.events import Doubted, Event, Listener, ignore
from capetune.runs.checkpoints import META
from capetune.runs.copy import Copy, sendable, weights
from capetune.runs.failures import ERROR
from capetune.runs.history import HISTORY
from capetune.runs.results import RESULT
from capetune.storage import lease
from capetune.storage.address import is_address, open_place
from capetune.storage.scratch import address_of, named, scratch


@contextmanager
def at_home(runs: Path | str) -> Iterator[Path]:
    """The folder below which runs lie: itself, or for an address an empty one of this process, into which
    `runs.registry` brings what is asked for. Errors name the address."""
    if not is_address(runs):
        yield Path(runs)
        return
    with scratch(str(runs)) as folder:
        try:
            yield folder
        except Exception as error:
            error.args = tuple(named(said) if isinstance(said, str) else said for said in error.args)
            raise


class Desk:
    """Who works on a run. number: of the lease, by which its workers know."""

    def __init__(self, folder: Path, listener: Listener, patient: bool) -> None:
        self.folder = folder
        self.listener = listener
        address = address_of(folder)
        self.place = open_place(address or folder)
        if patient:
            self.lease = lease.take_patiently(self.place, lambda words: listener(Doubted(words)))
        else:
            self.lease = lease.take(self.place)
        self.copy = None if address is None else Copy(self.place, folder, _drivers)
        self.superseded = False
        self._alone = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="lease")

    @property
    def number(self) -> int:
        return self.lease.number

    def fetch(self, below: str = "") -> None:
        """Bring what others have sent of the run's part `below`; where it lies in a folder it is there."""
        if self.copy is not None:
            with self._alone:
                self.copy.fetch(below)

    def send(self) -> None:
        """Raises UserError where what was written here doesn't arrive."""
        if self.copy is not None and not self.superseded:
            with self._alone:
                self.copy.send()

    def hear(self, event: Event) -> None:
        """The listener that ends the work where another process has taken the run over."""
        if self.superseded:
            raise lease.Superseded(self.place.address)
        self.listener(event)

    def _beat(self) -> None:
        said = False
        while not self._end.wait(lease.BEAT):
            try:
                self.superseded = not self.lease.beat()
                if self.superseded:
                    return
                self.send()
                said = False
            except UserError as error:
                if not said:  # once each time that it is away
                    self.listener(Doubted(f"{error}; what is written here is sent when it can be"))
                said = True

    def open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.fetch()
        self._thread.start()

    def close(self, ended_well: bool) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            with contextlib.nullcontext() if ended_well else contextlib.suppress(UserError):
                self.send()
        finally:
            with contextlib.suppress(UserError):  # others will see it silent
                self.lease.end()


@contextmanager
def at_work(folder: Path, listener: Listener = ignore, patient: bool = False) -> Iterator[Desk]:
    """Work on the run in a folder, or at the address that it is a copy of, alone: on whatever machine another process
    is. What is written into the folder meanwhile is sent there. A run that came to nothing leaves nothing.

    listener: hears Doubted where the place is away for long. patient: wait for a process of another machine that may be
    gone, and say so. Raises UserError where another process works there.
    """
    made = not folder.parent.exists()
    desk = Desk(folder, listener, patient)
    try:
        desk.open()
        yield desk
    except BaseException:
        desk.close(ended_well=False)
        raise
    else:
        desk.close(ended_well=True)
    finally:
        with contextlib.suppress(UserError):  # what matters is the error before
            _tidy(desk, made)


def _tidy(desk: Desk, made: bool) -> None:
    """Remove what came to nothing. made: the folder of runs, too."""
    names = list(desk.place.names())
    if desk.superseded or not all(name.startswith(f"{lease.FOLDER}/") for name in names):
        return
    for name in names:
        desk.place.delete(name)
    if desk.copy is None:
        shutil.rmtree(desk.folder)
        if made:
            desk.folder.parent.rmdir()


def _drivers(name: str) -> bool:
    """What the driver sends: all but what the machines send that train."""
    parts = name.split("/")
    if parts[-1] in (HISTORY, META) or weights(name) or parts[-1].startswith("events.out"):
        return False
    return sendable(name) and (len(parts) == 1 or parts[-1] in (RESULT, ERROR))
