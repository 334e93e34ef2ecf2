"""A place on a file system of this machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from capetune.errors import UserError
from capetune.storage.place import CHUNK, Missing
from capetune.storage.whole import pour, write_aside

Found = TypeVar("Found")


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def address(self) -> str:
        return str(self.path)

    @property
    def resolved(self) -> str:
        return str(self.path.resolve())

    def below(self, name: str) -> Folder:
        return Folder(self.path / name)

    def read(self, name: str) -> bytes:
        return self._found(name, lambda file: file.read_bytes())

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        def read(file: Path) -> list[bytes]:
            with file.open("rb") as stream:
                return [os.pread(stream.fileno(), length, begin) for begin, length in ranges]

        return self._found(name, read)

    def write(self, name: str, content: bytes) -> None:
        self._made(name, lambda file: write_aside(file, content))

    def create(self, name: str, content: bytes) -> bool:
        def create(file: Path) -> bool:
            aside = file.with_name(f".{file.name}.{os.urandom(6).hex()}")
            write_aside(aside, content)
            try:
                os.link(aside, file)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                    raise
                return _exclusively(file, content)
            finally:
                aside.unlink()
            return True

        return self._made(name, create)

    def open(self, name: str) -> BinaryIO:
        return self._found(name, lambda file: file.open("rb"))

    def fetch(self, name: str, file: Path) -> None:
        def fetch(source: Path) -> None:
            with source.open("rb") as stream:
                pour(iter(lambda: stream.read(CHUNK), b""), file)

        self._found(name, fetch)

    def send(self, file: Path, name: str) -> None:
        self._made(name, lambda out: Folder(file.parent).fetch(file.name, out))

    def size(self, name: str) -> int:
        return self._found(name, lambda file: file.stat().st_size)

    def age(self, name: str) -> float | None:
        written = self._found(name, lambda file: file.stat().st_mtime)
        now = (self.path / name).with_name(f".clock.{os.urandom(6).hex()}")
        try:
            now.touch()
            return now.stat().st_mtime - written
        except OSError:
            return None
        finally:
            now.unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        files = (file for file in self.path.rglob("*") if file.is_file() and not file.name.startswith("."))
        yield from sorted(file.relative_to(self.path).as_posix() for file in files)

    def delete(self, name: str) -> None:
        self._made(name, lambda file: file.unlink(missing_ok=True), make=False)

    def _found(self, name: str, act: Callable[[Path], Found]) -> Found:
        try:
            return act(self.path / name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise Missing(f"{self.path / name} is missing") from None
        except OSError as error:
            raise UserError(f"{self.path / name} can't be read: {error.strerror or error}") from None

    def _made(self, name: str, act: Callable[[Path], Found], make: bool = True) -> Found:
        file = self.path / name
        try:
            if make:
                file.parent.mkdir(parents=True, exist_ok=True)
            return act(file)
        except OSError as error:
            raise UserError(f"{file} can't be written: {error.strerror or error}") from None


def _exclusively(file: Path, content: bytes) -> bool:
    """Where there are no hard links, as on many mounts of object stores: one winner still, but seen while it grows."""
    try:
        with file.open("xb") as stream:
            stream.write(content)
    except FileExistsError:
        return False
    return True
