"""What the reader has to say of annotations, pictures and categories; check, pack, split and eval print it alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NAMED = 3  # of each reason in a line; manifest.json and `data check --json` name them all


@dataclass(frozen=True)
class Finding:
    """One thing that was found. category: its id. annotation: its id, None where it is about the category as a whole.
    file: the image's name as annotated, where it is about the picture. detail: what more there is to say."""

    category: int
    reason: str
    annotation: int | None = None
    file: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Noted:
    """All that was found for one reason.

    files: image names as annotated, sorted, each once, where it is about pictures. instances: how many annotations it
    concerns. ids: theirs, sorted, each as often as it was found. categories: ids, where it is about those as a whole.
    details: what more there is to say, by file, else by annotation id, else by category id.
    """

    files: tuple[str, ...] = ()
    instances: int = 0
    ids: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def together(files: Iterable[Iterable[Finding]]) -> tuple[Finding, ...]:
    """The findings of several files as those of one. The files share annotations, so what stands in many counts once;
    what stands in one of them several times counts as often."""
    most: Counter[Finding] = Counter()
    for findings in files:
        most |= Counter(findings)
    return tuple(most.elements())


def noted(findings: Iterable[Finding]) -> dict[str, Noted]:
    """By reason, in the order of the reasons."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.reason, []).append(finding)
    return {reason: _noted(group) for reason, group in sorted(groups.items())}


def said(left_out: Mapping[str, Noted], doubtful: Mapping[str, Noted]) -> list[str]:
    """A line a reason, with the first names: what isn't used, then what is but may be wrong."""
    out = [line(reason, entry, " left out") for reason, entry in left_out.items()]
    return out + [f"doubtful: {line(reason, entry)}" for reason, entry in doubtful.items()]


def line(reason: str, entry: Noted, fate: str = "") -> str:
    """A reason, how many there are and what became of them, the first names."""
    return f"{reason}: {_counts(entry)}{fate}: {listed(_names(entry))}"


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _noted(group: list[Finding]) -> Noted:
    details: dict[str, dict[str, None]] = {}
    for finding in group:
        if finding.detail:
            details.setdefault(_subject(finding), {})[finding.detail] = None
    ids = tuple(sorted(finding.annotation for finding in group if finding.annotation is not None))
    return Noted(
        files=tuple(sorted({finding.file for finding in group if finding.file is not None})),
        instances=len(ids),
        ids=ids,
        categories=() if ids else tuple(sorted({finding.category for finding in group})),
        details={subject: ", ".join(told) for subject, told in sorted(details.items())},
    )


def _subject(finding: Finding) -> str:
    if finding.file is not None:
        return finding.file
    return str(finding.category if finding.annotation is None else finding.annotation)


def _counts(entry: Noted) -> str:
    if entry.files:
        return f"{counted(len(entry.files), 'image')} with {counted(entry.instances, 'instance')}"
    if entry.ids:
        return counted(entry.instances, "annotation")
    return counted(len(entry.categories), "category", "categories")


def _names(entry: Noted) -> list[str]:
    subjects = [*entry.files] or [str(id) for id in dict.fromkeys(entry.ids or entry.categories)]
    return [f"{name} ({entry.details[name]})" if name in entry.details else name for name in subjects]
