"""What is to be run when a verb has ended, in whatever way: to tell somebody, to begin what comes next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from capetune.cluster.head import HeadLost
from capetune.events import Doubted, Ended, Event, Listener

SECONDS = 120  # that it may take


class _Result(Protocol):
    def to_json(self) -> dict[str, Any]: ...


Result = TypeVar("Result", bound=_Result)


def notified(
    command: str | None, verb: str, runs: object, listener: Listener, work: Callable[[Listener], Result]
) -> Result:
    """What `work` returns, or raises; then, once, `command` is run by the shell.

    It has the facts as CAPETUNE_VERB, _RUN, _RUNS, _STATE (completed, interrupted or failed), _ERROR (one line) and
    _AGAIN (what goes on with it), each empty where there is none, and all of them with the result as JSON on stdin.
    What it prints goes to stderr. That it fails, or isn't through in SECONDS, the listener hears, and nobody else.
    """
    if command is None:
        return work(listener)
    facts: dict[str, Any] = {"verb": verb, "run": "", "runs": str(runs), "state": "", "error": "", "again": ""}

    def hear(event: Event) -> None:
        if isinstance(event, Ended):
            facts.update(run=event.run, state=event.state, again=event.again or "")
        listener(event)

    try:
        result = work(hear)
        facts |= {"state": facts["state"] or "completed", "result": result.to_json()}
        return result
    except BaseException as error:
        ended_from_outside = isinstance(error, KeyboardInterrupt | HeadLost)
        facts["state"] = "interrupted" if ended_from_outside else "failed"
        facts["error"] = " ".join(str(error).split()) or ("interrupted" if ended_from_outside else type(error).__name__)
        raise
    finally:
        _run(command, facts, listener)


def _run(command: str, facts: dict[str, Any], listener: Listener) -> None:
    said = {f"CAPETUNE_{name.upper()}": value for name, value in facts.items() if isinstance(value, str)}
    given: dict[str, Any] = {"input": json.dumps(facts), "text": True, "env": os.environ | said, "timeout": SECONDS}
    try:
        code = subprocess.run(command, shell=True, stdout=sys.__stderr__, **given).returncode
    except subprocess.TimeoutExpired:
        listener(Doubted(f"--on-end {command!r} was ended: it wasn't through after {SECONDS} s"))
    except (OSError, ValueError) as error:
        listener(Doubted(f"--on-end {command!r} can't be run: {error}"))
    else:
        if code:
            listener(Doubted(f"--on-end {command!r} failed with exit code {code}"))
