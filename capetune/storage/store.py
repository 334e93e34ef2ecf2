"""A place in an object store or on a web server, by obstore."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from capetune.errors import UserError
from capetune.storage.place import CHUNK, Missing
from capetune.storage.whole import pour

PATIENCE = timedelta(seconds=90)  # tried again, at growing intervals with jitter, while a store fails
ONCE = timedelta(seconds=20)  # of it obstore's own, for a single request
METADATA = "169.254.169.254"  # whom clients ask for credentials where the environment has none
Found = TypeVar("Found")


@dataclass(frozen=True)
class Store:
    """root: scheme and bucket or host. prefix: what is below it, no slash at either end."""

    root: str
    prefix: str

    @property
    def address(self) -> str:
        return f"{self.root}/{self.prefix}".rstrip("/")

    @property
    def resolved(self) -> str:
        return self.address

    def below(self, name: str) -> Store:
        return Store(self.root, self._path(name))

    def read(self, name: str) -> bytes:
        import obstore

        return bytes(self._asked(name, lambda store, path: obstore.get(store, path).bytes()))

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        import obstore

        starts, lengths = [begin for begin, _ in ranges], [length for _, length in ranges]
        parts = self._asked(name, lambda store, path: obstore.get_ranges(store, path, starts=starts, lengths=lengths))
        return [bytes(part) for part in parts]

    def write(self, name: str, content: bytes) -> None:
        import obstore

        self._told(name, lambda store, path: obstore.put(store, path, content))

    def create(self, name: str, content: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        def create(store: Any, path: str) -> bool:
            try:
                obstore.put(store, path, content, mode="create")
            except AlreadyExistsError:
                # Of a request that was tried again, the first may have come through.
                return bytes(obstore.get(store, path).bytes()) == content
            return True

        return bool(self._told(name, create))

    def fetch(self, name: str, file: Path) -> None:
        import obstore

        def fetch(store: Any, path: str) -> None:
            pour(obstore.get(store, path).stream(min_chunk_size=CHUNK), file)

        self._asked(name, fetch)

    def send(self, file: Path, name: str) -> None:
        import obstore

        self._told(name, lambda store, path: obstore.put(store, path, file))

    def size(self, name: str) -> int:
        import obstore

        return int(self._asked(name, obstore.head)["size"])

    def age(self, name: str) -> float | None:
        import obstore

        written = self._asked(name, obstore.head)["last_modified"]
        clock = f"{name.rpartition('/')[0]}/.clock-{os.urandom(6).hex()}".lstrip("/")
        try:
            self.write(clock, b"")
            now = self._asked(clock, obstore.head)["last_modified"]
            self.delete(clock)
        except UserError:
            return None
        return float((now - written).total_seconds())

    def names(self) -> Iterator[str]:
        import obstore

        if self.root.startswith("http"):
            raise UserError(f"{self.address}: a web server is for reading: it can't be listed or written")

        def listed(store: Any, path: str) -> list[str]:
            return [entry["path"] for page in obstore.list(store, prefix=path or None) for entry in page]

        start = f"{self.prefix}/" if self.prefix else ""
        shown = (path for path in self._asked("", listed) if not path.rpartition("/")[2].startswith("."))
        yield from sorted(path.removeprefix(start) for path in shown)

    def delete(self, name: str) -> None:
        import obstore

        with contextlib.suppress(Missing):
            self._told(name, obstore.delete)

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)

    def _told(self, name: str, act: Callable[[Any, str], Found]) -> Found:
        """What changes something there."""
        if self.root.startswith("http"):
            raise UserError(f"{self.root}/{self._path(name)} can't be written: a web server is for reading")
        return self._asked(name, act)

    def _asked(self, name: str, act: Callable[[Any, str], Found]) -> Found:
        from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

        path = self._path(name)
        where = f"{self.root}/{path}"
        begun = time.monotonic()
        try:
            return _patiently()(act, _client(self.root), path)
        except (PermissionDeniedError, UnauthenticatedError):
            raise UserError(f"{where}: access is denied; look at the credentials in the environment") from None
        except (BaseError, OSError) as error:
            if "NoSuchBucket" in str(error):
                raise UserError(f"{where}: there is no bucket {self.root.rpartition('/')[2]}") from None
            if isinstance(error, NotFoundError | FileNotFoundError):
                raise Missing(f"{where} is missing") from None
            raise UserError(f"{where}: {_reason(error, time.monotonic() - begun)}") from None


def _patiently() -> Retrying:
    """Asks again what may pass: obstore itself gives up on some of it, such as connections that are closed at once."""
    wait = wait_random_exponential(multiplier=0.2, max=8)
    stop = stop_after_delay(PATIENCE)
    return Retrying(retry=retry_if_exception(_may_pass), wait=wait, stop=stop, reraise=True)


def _may_pass(error: BaseException) -> bool:
    from obstore import exceptions as known

    lasting = (known.NotFoundError, known.PermissionDeniedError, known.UnauthenticatedError, known.AlreadyExistsError)
    if isinstance(error, lasting) or not isinstance(error, known.BaseError | ConnectionError | TimeoutError):
        return False
    text = str(error)
    refused = re.search(r"status code: 4(?!08|29)", text)
    return not (refused or "NoSuchBucket" in text or METADATA in text)


@cache
def _client(root: str) -> Any:
    """One a process and bucket: it keeps its connections."""
    from obstore.store import MemoryStore, from_url

    if root.startswith("memory:"):
        return MemoryStore()
    plain = root.startswith("http://") or os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    retries: Any = {"max_retries": 5, "retry_timeout": min(PATIENCE, ONCE)}
    return from_url(f"{root}/", client_options={"allow_http": True} if plain else None, retry_config=retries)


def _reason(error: Exception, seconds: float) -> str:
    """Of obstore's many lines, with the server's whole answer, what a person can act on. seconds: that it was tried."""
    text = " ".join(str(error).split())
    status = re.search(r"status code: (\d{3}) ([A-Z][A-Za-z ]*)", text)
    if METADATA in text:
        return "there are no credentials in the environment (AWS_ACCESS_KEY_ID …, GOOGLE_APPLICATION_CREDENTIALS …)"
    tried = f"; tried for {seconds:.0f} s" if seconds >= 1 else ""
    if status:
        return f"the store answers {status[1]} {status[2].strip()}{tried}"
    return f"the store can't be reached{tried}" if _may_pass(error) else text[:150]
