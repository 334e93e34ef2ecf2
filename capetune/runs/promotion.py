"""A promotion: its jobs, what their folders hold, and the tables of means over splits and seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.evaluation.protocol import EPISODES, in_episodes, is_official
from capetune.runs.failures import ERROR, error_line
from capetune.runs.paired import interval
from capetune.runs.record import TABLES, Asked


@dataclass(frozen=True)
class Promotion:
    """config: what is promoted. episodes, queries: of the evaluation, a category's and an episode's; None: official."""

    config: Config
    pack: Pack
    folder: Path
    splits: tuple[int, ...]
    shots: tuple[int, ...]
    seeds: int
    episodes: int | None
    queries: int

    @property
    def protocol(self) -> str:
        episodes = self.episodes or EPISODES["test"]
        if all(is_official(self.pack.part(split, "test"), episodes, self.queries) for split in self.splits):
            return "official pairs"
        return in_episodes(episodes, self.queries)

    def jobs(self) -> list[dict[str, Any]]:
        """The first seed is the configuration's own."""
        seeds = [self.config.seed + i for i in range(self.seeds)]
        pairs = [(split, seed) for split in self.splits for seed in seeds]
        return [
            {"number": i, "name": f"split{split}-seed{seed}", "overrides": {"data.split": split, "seed": seed}}
            for i, (split, seed) in enumerate(pairs)
        ]

    def asked(self, missing: Mapping[int, list[str]]) -> Asked:
        """For the run's record. missing: split → categories of its test part without an image."""
        return {
            "jobs": [job["name"] for job in self.jobs()],
            "shots": list(self.shots),
            "episodes": self.episodes,
            "queries": self.queries,
            "epochs": self.config.train.epochs,
            "missing": {str(split): names for split, names in missing.items()},
        }

    def report(self, job: dict[str, Any], shots: int) -> dict[str, Any] | None:
        """A job's official scores, as `EvalReport.to_json`; None while it has none of this protocol."""
        file = self.folder / job["name"] / report_name(shots, self.episodes, self.queries)
        return json.loads(file.read_text()) if file.is_file() else None

    def scores(self, name: str) -> dict[int, float]:
        """Shots → official mPCK4 of the job of that name, as far as it is scored."""
        job = next(job for job in self.jobs() if job["name"] == name)
        found = {count: self.report(job, count) for count in self.shots}
        return {count: report["mpck4"] for count, report in found.items() if report is not None}

    def left(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs() if any(self.report(job, shots) is None for shots in self.shots)]

    def errors(self) -> dict[str, str]:
        """The failed jobs' names, with the line that names the error."""
        files = {job["name"]: self.folder / job["name"] / ERROR for job in self.left()}
        return {name: error_line(file.read_text()) for name, file in files.items() if file.is_file()}


def report_name(shots: int, episodes: int | None, queries: int) -> str:
    return f"eval-{shots}shot-{episodes or 'official'}x{queries}.json"


def tabulated(promotion: Promotion) -> dict[str, Any]:
    """What was asked, and `rows`, the `summary`: one of the tables of promotion.json."""
    asked = {"splits": list(promotion.splits), "shots": list(promotion.shots), "seeds": promotion.seeds}
    return {**asked, "protocol": promotion.protocol, "rows": summary(promotion)}


def read_tables(folder: Path) -> list[dict[str, Any]]:
    """The tables that a promotion's folder holds so far. Raises UserError where their file is damaged."""
    file = folder / TABLES
    try:
        return list(json.loads(file.read_text())["tables"]) if file.is_file() else []
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{file} holds no tables of a promotion; move it away, the jobs' scores are kept apart"
        ) from None


def with_table(tables: list[dict[str, Any]], table: dict[str, Any]) -> list[dict[str, Any]]:
    """The tables with this one last, in place of an earlier one of the same splits, shots, seeds and protocol."""
    asked = ("splits", "shots", "seeds", "protocol")
    return [other for other in tables if any(other[key] != table[key] for key in asked)] + [table]


def summary(promotion: Promotion) -> list[dict[str, Any]]:
    """For each number of shots: mPCK4 of each split (mean over the seeds that are done), the mean over splits with its
    95 % confidence interval, and the template's on the same pairs.

    The interval is Student's over seeds, each seed counting with its mean over all splits; None for a single seed, or
    while some job of a seed is missing.
    """
    rows = []
    for shots in promotion.shots:
        model: dict[int, list[float]] = {}
        template: dict[int, list[float]] = {}
        seeds: dict[int, list[float]] = {}
        for job in promotion.jobs():
            report = promotion.report(job, shots)
            if report is not None:
                split, seed = job["overrides"]["data.split"], job["overrides"]["seed"]
                model.setdefault(split, []).append(report["mpck4"])
                template.setdefault(split, []).append(report["template"]["mpck4"])
                seeds.setdefault(seed, []).append(report["mpck4"])
        whole = [statistics.mean(scores) for scores in seeds.values() if len(scores) == len(promotion.splits)]
        done = sum(map(len, model.values()))
        row: dict[str, Any] = {"shots": shots, "jobs": len(promotion.jobs()), "done": done}
        row["splits"] = {split: statistics.mean(scores) for split, scores in model.items()}
        row["mpck4"] = statistics.mean(row["splits"].values()) if model else None
        row["template"] = statistics.mean(map(statistics.mean, template.values())) if model else None
        row["interval"] = interval(whole) if len(whole) == promotion.seeds else None
        rows.append(row)
    return rows
