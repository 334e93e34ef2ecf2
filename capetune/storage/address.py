"""From an address to its place."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from capetune.errors import UserError
from capetune.storage.folder import Folder
from capetune.storage.place import Place
from capetune.storage.store import Store

STORES = ("s3", "gs", "memory")  # to read and write
WEB = ("http", "https")  # to read


def is_address(text: object) -> bool:
    """Whether it is a URL, and not a path of this machine."""
    return "://" in str(text)


def open_place(address: str | Path) -> Place:
    """Nothing is asked of it yet. Raises UserError for an address that can't be served, or that holds a secret."""
    text = str(address)
    if not is_address(text):
        return Folder(Path(address))
    url = urlsplit(text)
    shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return Folder(Path(url.path))
    if url.scheme not in (*STORES, *WEB):
        raise UserError(f"{shown}: addresses begin with {', '.join(STORES[:-1])} or http(s), paths with none of them")
    if url.username or url.password or url.query or url.fragment:
        raise UserError(f"{shown}: leave out what is more than the place; who you are is told by the environment")
    if not url.netloc:
        raise UserError(f"{shown} names no {'server' if url.scheme in WEB else 'bucket'}")
    return Store(f"{url.scheme}://{url.netloc}", url.path.strip("/"))
