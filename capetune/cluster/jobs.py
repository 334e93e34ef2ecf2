"""Ray's Jobs API over HTTP, from a machine that needn't be in the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from capetune.errors import UserError

DASHBOARD = "http://127.0.0.1:8265"
LARGEST = 100 * 2**20  # bytes: what the dashboard's server takes in one upload (ray issue 38566)
GRACE = 120  # seconds that a stopped job has to write down where it is; Ray's own are 3
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
LOOK = 1.0  # seconds between looks at a job's state


@dataclass(frozen=True)
class Job:
    """state: PENDING, RUNNING or one of ENDED. name: of its run, where it is one of ours. workers: of each of its
    trials or trainings. begun, ended: in Unix seconds. code: its exit code, None while it has none. why: what Ray says.
    """

    id: str
    state: str
    verb: str
    name: str
    workers: int
    begun: float | None
    ended: float | None
    code: int | None
    why: str

    @property
    def over(self) -> bool:
        return self.state in ENDED

    def to_json(self) -> dict[str, Any]:
        return vars(self).copy()


class Jobs:
    """The jobs of the cluster whose dashboard is at a URL. Raises UserError, in one line, where it isn't reached, asks
    for another token or has another Ray; so do all methods where it no longer answers.

    address: None takes RAY_API_SERVER_ADDRESS, else this machine's. token: a file; None takes what Ray takes itself
    (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token).
    """

    def __init__(self, address: str | None = None, token: Path | None = None) -> None:
        self.url = dashboard_url(address)
        secret = secret_of(token)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._same_ray(str(self.get("/api/version")["ray_version"]))
        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard", "ray._private.runtime_env"):  # they tell of websockets that end, and of uploads
            logging.getLogger(name).setLevel(logging.ERROR)
        with _unset("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"), self._plain():  # they would win over the address
            self.client = JobSubmissionClient(self.url, headers=dict(self.headers))

    def _same_ray(self, theirs: str) -> None:
        import ray

        if theirs != ray.__version__:
            raise UserError(
                f"the cluster at {self.url} runs Ray {theirs}, this machine has {ray.__version__}: "
                f"pip install 'ray[default]=={theirs}' here, or take the cluster's image"
            )

    def get(self, path: str) -> Any:
        """What the dashboard answers, from JSON."""
        return answer(self.url, path, self.headers)

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Ray's client raises RuntimeError, with a traceback of the server's in it."""
        try:
            yield
        except (RuntimeError, OSError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"the cluster at {self.url} says: {lines[-1][:200]}") from None

    def all(self) -> list[Job]:
        """The latest first."""
        with self._plain():
            found = [_job(details) for details in self.client.list_jobs() if details.submission_id]
        return sorted(found, key=lambda job: job.begun or time.time(), reverse=True)

    def one(self, id: str) -> Job:
        """The job of that id, or of a run of that name: the latest that hasn't ended, else the latest."""
        found = self.all()
        named = [job for job in found if job.id == id] or [job for job in found if job.name == id]
        if named:
            return next((job for job in named if not job.over), named[0])
        there = ", ".join(job.id for job in found[:5])
        raise UserError(
            f"there is no job {id} at {self.url}; " + (f"the latest are {there}" if there else "it has none")
        )

    def submit(
        self, id: str, entrypoint: str, folder: Path, env: Mapping[str, str], metadata: Mapping[str, str]
    ) -> Job:
        """Send a folder, in which the entrypoint is run, with it on the import path. Raises UserError where the id is
        taken or the folder is too large."""
        if any(job.id == id for job in self.all()):
            raise UserError(f"there is a job {id} at {self.url} already: give another --id")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if size > LARGEST:
            raise UserError(
                f"what is to be sent has {size / 2**20:.0f} MiB, and the dashboard takes 100: use addresses"
            )
        runtime = {"working_dir": str(folder), "env_vars": dict(env)}
        # The agent of a head that has just come, or has much to do, isn't there yet.
        patient = Retrying(
            retry=retry_if_exception(_no_agent), stop=stop_after_delay(90), wait=wait_fixed(3), reraise=True
        )
        with self._plain():
            patient(
                self.client.submit_job,
                entrypoint=entrypoint,
                submission_id=id,
                runtime_env=runtime,
                metadata=dict(metadata),
            )
        return self.one(id)

    def why(self, job: Job) -> str:
        """Why it failed: the last line of its log that says so, where one does."""
        said = [line for line in self.log(job.id).splitlines() if line.startswith("error: ")]
        return said[-1].removeprefix("error: ") if said else job.why

    def log(self, id: str) -> str:
        with self._plain():
            return str(self.client.get_job_logs(id))

    def follow(self, id: str) -> Iterator[str]:
        """Its lines, from the first on, as they come, until it has ended."""
        rest = ""
        with self._plain():
            for piece in _pieces(self.client.tail_job_logs(id)):
                *lines, rest = (rest + piece).split("\n")
                yield from lines
        if rest:
            yield rest

    def wait(self, id: str, patience: float = math.inf) -> Job:
        """Until it has ended, or for so many seconds; how it stands then."""
        until = time.monotonic() + patience
        while not (job := self.one(id)).over and time.monotonic() < until:
            time.sleep(LOOK)
        return job

    def stop(self, id: str) -> Job:
        """End it, after it has written down where it is. Ray keeps one that waits for room PENDING, to end it when it
        would begin: that isn't waited for."""
        pending = self.one(id).state == "PENDING"
        with self._plain():
            self.client.stop_job(id)
        return self.wait(id, 10.0 if pending else GRACE + 30.0)


def _job(details: Any) -> Job:
    metadata = details.metadata or {}
    begun, ended = ((stamp or 0) / 1000 or None for stamp in (details.start_time, details.end_time))
    state = getattr(details.status, "value", str(details.status))
    verb, name = metadata.get("capetune_verb", ""), metadata.get("capetune_run", "")
    why = " ".join((details.message or "").partition(", last available logs")[0].split())
    workers = metadata.get("capetune_workers", "")
    many = int(workers) if workers.isdecimal() else 1
    return Job(details.submission_id, state, verb, name, many, begun, ended, details.driver_exit_code, why)


def dashboard_url(address: str | None) -> str:
    """That of the address, or else the one that is taken where none is named. Raises UserError where it is no URL."""
    url = (address or os.environ.get("RAY_API_SERVER_ADDRESS") or DASHBOARD).rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"--address {url}: the dashboard's URL is wanted, such as http://head:8265")
    return url


def answer(url: str, path: str, headers: Mapping[str, str]) -> Any:
    """What the dashboard at a URL answers, from JSON. Raises UserError where it refuses to, or nothing answers."""
    try:
        request = urllib.request.Request(url + path, headers=dict(headers))
        with urllib.request.urlopen(request, timeout=30) as got:
            return json.loads(got.read())
    except urllib.error.HTTPError as error:
        raise UserError(_refused(url, error.code)) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        cure = "give --address, or dig a tunnel: ssh -L 8265:127.0.0.1:8265 HEAD"
        raise UserError(f"no Ray dashboard answers at {url} ({why}); {cure}") from None


def _refused(url: str, status: int) -> str:
    if status == 401:
        return f"the cluster at {url} asks for a token: give --token-file, or set RAY_AUTH_TOKEN"
    if status == 403:
        return f"the cluster at {url} refuses this token; `ray get-auth-token` on its head prints the right one"
    return f"the dashboard at {url} answers {status}"


def secret_of(file: Path | None) -> str | None:
    """The token in a file, or else the one that Ray itself would take. Raises UserError where a file that was named
    can't be read."""
    if file is None and (given := os.environ.get("RAY_AUTH_TOKEN")):
        return given.strip()
    named = file or (Path(path) if (path := os.environ.get("RAY_AUTH_TOKEN_PATH")) else None)
    try:
        return (named or Path.home() / ".ray/auth_token").read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        if named:
            raise UserError(f"can't read the token in {named}: {getattr(error, 'strerror', None) or error}") from None
    return None


def _pieces(stream: Any) -> Iterator[str]:
    """An asynchronous iterator's items, on this thread."""
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(stream))
            except StopAsyncIteration:
                return
    finally:
        with contextlib.suppress(Exception):
            if left := asyncio.all_tasks(loop):  # a Ctrl-C has left the stream waiting for its next piece
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(stream.aclose())
        loop.close()


@contextmanager
def _unset(*names: str) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ |= before


def _no_agent(error: BaseException) -> bool:
    return "No available agent to submit job" in str(error)
