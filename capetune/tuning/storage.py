"""Where a search's study lies: a journal in the run's folder, or a database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from capetune.errors import UserError
from capetune.runs.record import JOURNAL
from capetune.tuning.patience import PatientStorage


def open_storage(folder: Path, url: str | None) -> BaseStorage:
    """Optuna's storage of a run: a journal in its folder, or the database at a URL. `postgresql://` is psycopg's; a
    password that the URL lacks is asked of the environment by the driver (PGPASSWORD, ~/.pgpass).

    Raises UserError, without the password, where that can't be opened.
    """
    if url is None:
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    try:
        return PatientStorage(_parsed(url).render_as_string(hide_password=False))
    except UserError:
        raise
    except Exception as error:  # of SQLAlchemy or of the database's driver, which may not be installed
        why = next(iter(str(error).splitlines()), type(error).__name__)
        parsed = _parsed(url)
        for secret in (parsed.password, *(value for name, value in parsed.query.items() if "password" in name.lower())):
            why = why.replace(str(secret), "***") if secret else why
        raise UserError(f"can't open Optuna's storage {without_password(url)}: {why}") from None


def without_password(url: str) -> str:
    """As it is kept and shown. Raises UserError where it is no URL."""
    parsed = _parsed(url)
    query = {name: value for name, value in parsed.query.items() if "password" not in name.lower()}
    parts = (parsed.username, None, parsed.host, parsed.port, parsed.database, query)
    return URL.create(parsed.drivername, *parts).render_as_string(hide_password=False)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError("--storage wants a URL such as sqlite:///study.db or postgresql://user@host/database") from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        if find_spec("psycopg") is None:
            raise UserError("postgresql:// needs another package: pip install 'capetune[postgresql]'")
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def study_names(storage: BaseStorage) -> list[str]:
    return [summary.study_name for summary in optuna.get_all_study_summaries(storage)]


def check_new(url: str, name: str) -> None:
    """Raises UserError where a database can't be opened or holds a study of that name: its trials aren't ours."""
    if name in study_names(open_storage(Path(), url)):
        raise UserError(f"{without_password(url)} holds a study {name!r} already; choose another --name")


def study_name(folder: Path, facts: dict[str, Any]) -> str:
    """The name of a begun search's study: the run's when it was begun, whatever its folder is called now. Of searches
    that don't say so, the only one that their journal holds."""
    if "study" in facts:
        return str(facts["study"])
    if facts.get("storage") is None and (folder / JOURNAL).is_file():
        names = study_names(open_storage(folder, None))
        if len(names) == 1:
            return names[0]
    return folder.name
