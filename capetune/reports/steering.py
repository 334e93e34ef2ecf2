"""What a running search was asked for, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capetune.trial_events import SearchSteered

if TYPE_CHECKING:
    from capetune.service.steer import SteerResult


def steered_line(event: SearchSteered) -> str:
    """Of the search that has taken a request up."""
    words = _asked(event.added, event.stopped)
    words += [f"{event.trials} trials in place of {event.before}"] if event.trials != event.before else []
    words += [f"no trials are left for {_points(event.waiting)}"] if event.waiting else []
    return f"asked for from outside: {', '.join(words) or 'nothing new'}"


def asked_lines(result: SteerResult) -> list[str]:
    """Of the command that has asked."""
    words = _asked(result.points, result.stop)
    words += [f"{result.trials} trials in all"] if result.trials is not None else []
    said = "has taken it up" if result.taken else "hasn't taken it up yet, and will when its trials run"
    return [f"{result.name} {said}: {', '.join(words)}"]


def _asked(points: int, stopped: tuple[int, ...]) -> list[str]:
    return [f"{_points(points)} tried next"] * (points > 0) + [f"trial {number} ends" for number in stopped]


def _points(count: int) -> str:
    return f"{count} point{'s are' if count > 1 else ' is'}"
