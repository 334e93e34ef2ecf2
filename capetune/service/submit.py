"""Submit: send a request to a cluster as a Ray job, with the code that it is to be run by.

The job's folder holds the package as it is imported here, unpacked, the request as JSON, and the files that it names.
It comes before what the image has installed on Python's path, so the cluster runs this machine's code on the image's
dependencies.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import capetune
from capetune.cluster.jobs import GRACE, Job, Jobs
from capetune.errors import UserError
from capetune.service.predict import PredictRequest
from capetune.service.request import Configured, Request, option
from capetune.service.search import SearchRequest
from capetune.service.serve import ServeRequest
from capetune.service.steer import SteerRequest
from capetune.storage.address import is_address
from capetune.tuning.space_file import load_space

SENT = "request.json"
CARRIED = ("space", "config")  # small files that travel along
RESULTS = ("predictions", "from_predictions", "compare")
ELSEWHERE = ("data", "runs", "features", "annotations", "images", "checkpoint", *RESULTS)  # lies where machines read it
ENTRYPOINT = f"python -m capetune request --sent {SENT}"


def submit(request: Request, jobs: Jobs, id: str | None = None) -> Job:
    """Send it. Raises UserError where it names a path that the cluster can't see, or as `Jobs.submit` does."""
    _check_here(request)
    verb = str(type(request).model_fields["verb"].default)
    now = datetime.now()
    id = id or f"{verb}-{now:%Y%m%d-%H%M%S}"
    name = getattr(request, "name", None) or getattr(request, "resume", None) or ""
    # A record's own name would be made from the time, at its start: a scheduler's second try must find the first.
    if not name and verb == "search":
        name = id
        request = request.model_copy(update={"name": id})
    with packed(request) as folder:
        env = {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE), "PYTHONUNBUFFERED": "1"}
        told = {"capetune_verb": verb, "capetune_run": name, "capetune_workers": str(_workers(request))}
        told["job_name"] = f"capetune {verb} {name}".strip()  # as Ray's dashboard lists it
        return jobs.submit(id, ENTRYPOINT, folder, env, told)


def _check_here(request: Request) -> None:
    """Raises UserError for a configuration or a space that can be told to be wrong before it is sent."""
    if any(getattr(request, field, None) for field in ("resume", "best", "from_", "longer")):
        return  # it goes on with what the cluster has
    if isinstance(request, Configured):
        config = request.configuration()
        if isinstance(request, SearchRequest) and request.space is not None:
            load_space(request.space, config)


def _workers(request: Request) -> int:
    """Of a trial or a training; of an elastic one the most."""
    asked = getattr(request, "workers_per_trial", None) or getattr(request, "workers", None) or 1
    return int(asked[1] if isinstance(asked, tuple) else asked)


@contextmanager
def packed(request: Request) -> Iterator[Path]:
    """A folder with all that the job needs, until the end. Raises UserError as `submit` does."""
    if isinstance(request, PredictRequest):
        raise UserError("predict reads pictures of this machine and writes here: run it here, it needs no cluster")
    if isinstance(request, ServeRequest):
        raise UserError("serve listens on the machine that it is run on: run it there, it starts a Ray of its own")
    if isinstance(request, SteerRequest):
        raise UserError("steer only writes into the search's folder: run it here, it needs no cluster")
    with tempfile.TemporaryDirectory(prefix="capetune-") as place:
        folder = Path(place)
        changed = {name: _carried(name, getattr(request, name, None), folder) for name in CARRIED}
        for name in ELSEWHERE:
            value = getattr(request, name, None)
            for each in value if isinstance(value, tuple) else (value,):
                _check_seen(name, each)
        told = {name: value for name, value in changed.items() if value is not None} | {"address": "auto"}
        fields = type(request).model_fields
        sent = request.model_copy(update={name: value for name, value in told.items() if name in fields})
        (folder / SENT).write_text(sent.model_dump_json(), encoding="utf-8")
        copy_package(folder)
        yield folder


def copy_package(folder: Path) -> None:
    """The package as an unpacked wheel has it: its files, links resolved, and what describes it."""
    source = Path(capetune.__file__).parent
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    described: Any = distribution("capetune")
    for name in ("METADATA", "entry_points.txt"):
        text = described.read_text(name)
        if text is not None:
            place = folder / f"capetune-{described.version}.dist-info"
            place.mkdir(exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")


def _carried(name: str, value: Any, folder: Path) -> str | Path | None:
    """A file of this machine goes along; a built-in space has no file."""
    if value is None:
        return None
    file = Path(value)
    if not file.is_file():
        if name == "space":
            return None
        raise UserError(f"{option(name)} {value}: there is no such file")
    if file.name in (SENT, "capetune"):
        raise UserError(f"{option(name)} {value}: give the file another name")
    shutil.copyfile(file, folder / file.name)
    return type(value)(file.name)


def _check_seen(name: str, value: Any) -> None:
    """Raises UserError for a path of this machine: relative ones are, absolute ones may be shared."""
    if value is None or is_address(value) or value == "synthetic" or Path(value).is_absolute():
        return
    cure = f"give an address such as s3://bucket/{name}, or the absolute path of a folder that all its machines share"
    raise UserError(f"the cluster can't see {option(name)} {value}, a path of this machine: {cure}")
