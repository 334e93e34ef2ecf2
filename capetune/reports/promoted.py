"""What the folder of a promotion tells, gathered for its report."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from capetune.errors import UserError
from capetune.evaluation.protocol import EPISODES, in_episodes
from capetune.reports.breaks import Breaks, read_breaks
from capetune.runs.diary import read_events
from capetune.runs.document import Odd, read_checked
from capetune.runs.failures import ERROR, error_line
from capetune.runs.history import finished, read_history
from capetune.runs.promotion import report_name
from capetune.runs.record import Asked, Run

TRACEBACK_MOST = 20_000  # characters of a traceback's end
JOB, REPORT = re.compile(r"split(\d+)-seed(\d+)"), re.compile(r"eval-(\d+)shot-(official|\d+)x(\d+)\.json")


class _Template(TypedDict):
    mpck4: float


class _Category(TypedDict):
    name: str


class _Report(TypedDict):
    """Of an `EvalReport`'s JSON."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    protocol: str
    data: str
    mpck4: float
    pck: dict[str, float]
    template: _Template
    left_out_instances: int
    missing_categories: list[_Category]


_REPORT = TypeAdapter(_Report)


@dataclass(frozen=True, order=True)
class Protocol:
    """By which test parts are scored: episodes a category and queries an episode."""

    episodes: int
    queries: int


@dataclass(frozen=True)
class Score:
    """Of a job's best epoch on its test part, and the template's mPCK4 on the same pairs. left_out, missing: instances
    and categories that the data lacks. official: of the official pairs."""

    mpck4: float
    pck_20: float | None
    template: float
    left_out: int
    missing: tuple[str, ...]
    data: str
    official: bool


@dataclass(frozen=True)
class Job:
    """state: waiting, running, scoring, unfinished (cut off), failed or ended. scores: by protocol and shots."""

    name: str
    split: int
    seed: int
    state: str
    history: list[dict[str, float]]
    scores: dict[tuple[Protocol, int], Score]
    error: str | None = None
    traceback: str | None = None

    @property
    def epochs(self) -> int:
        """Finished ones."""
        return finished(self.history)


@dataclass(frozen=True)
class Mean:
    """Of some scores: their mean, their standard deviation where there are two or more, and the template's mean."""

    mpck4: float
    deviation: float | None
    template: float
    count: int

    @classmethod
    def of(cls, scores: Sequence[tuple[float, float]]) -> Mean | None:
        """scores: (the model's, the template's); None of none."""
        if not scores:
            return None
        mine = [score for score, _ in scores]
        deviation = statistics.stdev(mine) if len(mine) > 1 else None
        return cls(statistics.mean(mine), deviation, statistics.mean(other for _, other in scores), len(scores))


@dataclass(frozen=True)
class Promoted:
    """A promotion. state: its run's `state_now`. jobs: those asked for last, and others that its folder holds, by split
    and seed. asked: None where that isn't recorded. notes: what couldn't be read, each a sentence."""

    run: Run
    state: str
    jobs: list[Job]
    asked: Asked | None
    breaks: Breaks
    notes: list[str]

    @property
    def protocols(self) -> list[Protocol]:
        """The most episodes first."""
        return sorted({protocol for job in self.jobs for protocol, _ in job.scores}, reverse=True)

    @property
    def missing(self) -> dict[int, list[str]]:
        """Split → categories of its test part that the data lacks, as far as that is known."""
        found = {int(split): list(names) for split, names in self.asked["missing"].items()} if self.asked else {}
        for job in self.jobs:
            for score in job.scores.values():
                found[job.split] = list(score.missing)
        return dict(sorted(found.items()))

    def shots(self, protocol: Protocol) -> list[int]:
        return sorted({shots for job in self.jobs for other, shots in job.scores if other == protocol})

    def splits(self) -> list[int]:
        return sorted({job.split for job in self.jobs})

    def left_out(self, protocol: Protocol) -> dict[int, int]:
        """Split → instances of its test part that the data lacks, so that its pairs aren't the official ones."""
        found = ((job.split, *each) for job in self.jobs for each in job.scores.items())
        counts = {split: score.left_out for split, (other, _), score in found if other == protocol}
        return {split: count for split, count in counts.items() if count}

    def words(self, protocol: Protocol) -> str:
        """What its scores are called."""
        found = [score.official for job in self.jobs for (other, _), score in job.scores.items() if other == protocol]
        named = "official pairs" if all(found) else "sampled as officially"
        return f"{named}, {in_episodes(protocol.episodes, protocol.queries)}"

    def of_split(self, protocol: Protocol, shots: int, split: int) -> Mean | None:
        """Over the seeds that are scored."""
        found = [job.scores.get((protocol, shots)) for job in self.jobs if job.split == split]
        return Mean.of([(score.mpck4, score.template) for score in found if score is not None])

    def of_all(self, protocol: Protocol, shots: int) -> Mean | None:
        """Over the splits, each with its mean over seeds. The deviation is over the seeds that have every split, each
        with its mean over those."""
        means = [mean for split in self.splits() if (mean := self.of_split(protocol, shots, split)) is not None]
        if not means:
            return None
        seeds: dict[int, list[float]] = {}
        for job in self.jobs:
            if (protocol, shots) in job.scores:
                seeds.setdefault(job.seed, []).append(job.scores[protocol, shots].mpck4)
        whole = [statistics.mean(scores) for scores in seeds.values() if len(scores) == len(means)]
        deviation = statistics.stdev(whole) if len(whole) > 1 else None
        mpck4, template = statistics.mean(m.mpck4 for m in means), statistics.mean(m.template for m in means)
        return Mean(mpck4, deviation, template, sum(mean.count for mean in means))


def read_promoted(run: Run) -> Promoted:
    """Raises UserError where no job has begun."""
    state, notes = run.state_now, []
    asked: Asked | None = run.facts.get("asked")
    changes = [event for event in read_events(run.folder) if event.get("event") == "job_changed"]
    said = {event.get("job"): event.get("state") for event in changes}
    folders = [folder for folder in run.folder.glob("split*-seed*") if folder.is_dir()]
    names = {folder.name for folder in folders if JOB.fullmatch(folder.name)}
    if not names:
        cure = "wait for the first" if state == "running" else "give the command that began it again"
        raise UserError(f"no job of {run.name} has begun yet, so there is nothing to report; {cure}")
    names |= set(asked["jobs"]) if asked else set()
    jobs = []
    for name in names:
        found = JOB.fullmatch(name)
        if found is None:
            notes.append(f"{name!r}, of the run's record, is no job's name.")
            continue
        folder = run.folder / name
        history, scores = read_history(folder), dict(_scores(folder, notes))
        failure = (folder / ERROR).read_text(errors="replace") if (folder / ERROR).is_file() else None
        whole = _whole(folder, asked, scores)
        now = _state(whole, failure is not None, state == "running", str(said.get(name)), bool(history))
        traceback = None if failure is None or whole else failure[-TRACEBACK_MOST:]
        error = None if traceback is None else error_line(traceback)
        jobs.append(Job(name, int(found[1]), int(found[2]), now, history, scores, error, traceback))
    jobs.sort(key=lambda job: (job.split, job.seed))
    return Promoted(run, state, jobs, asked, read_breaks(run.folder), notes)


def _whole(folder: Path, asked: Asked | None, scores: dict[tuple[Protocol, int], Score]) -> bool:
    """Whether a job has every score that was asked for."""
    if asked is None or folder.name not in asked["jobs"]:
        return bool(scores)
    return all((folder / report_name(shots, asked["episodes"], asked["queries"])).is_file() for shots in asked["shots"])


def _state(whole: bool, failed: bool, at_work: bool, said: str, begun: bool) -> str:
    if whole:
        return "ended"
    if failed:
        return "failed"
    if at_work:
        return said if said in ("running", "scoring") else "waiting"
    return "unfinished" if begun else "waiting"


def _scores(folder: Path, notes: list[str]) -> Iterator[tuple[tuple[Protocol, int], Score]]:
    """notes: gets what couldn't be read."""
    for file in sorted(folder.glob("eval-*.json")):
        found = REPORT.fullmatch(file.name)
        if found is None:
            continue
        try:
            tree = read_checked(file, _REPORT)
        except (Odd, FileNotFoundError) as error:
            notes.append(f"{file} {error}.")
            continue
        episodes = EPISODES["test"] if found[2] == "official" else int(found[2])
        missing = tuple(category["name"] for category in tree["missing_categories"])
        template, left_out = tree["template"]["mpck4"], tree["left_out_instances"]
        official = tree["protocol"] == "official"
        score = Score(tree["mpck4"], tree["pck"].get("0.2"), template, left_out, missing, tree["data"], official)
        yield (Protocol(episodes, int(found[3])), int(found[1])), score
