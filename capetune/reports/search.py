"""The outcome of a search as files and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from capetune.reports.ablation import ablation_rows, ablation_table, beside_default
from capetune.reports.earlier import earlier_lines
from capetune.reports.live import STYLES
from capetune.reports.words import in_words, share, short, tails
from capetune.runs.commands import again
from capetune.runs.metrics import title
from capetune.runs.record import Run
from capetune.runs.results import UNSCORED, TrialResult, trial_rows, varied_keys
from capetune.service.search import SearchResult
from capetune.storage.scratch import named
from capetune.tuning.goal import Goal
from capetune.tuning.limits import over

if TYPE_CHECKING:
    from capetune.reports.html import Report


def results_table(results: list[TrialResult], goal: Goal, most: int = 10) -> Table:
    """The best trials, with the template's mPCK4 on the same pairs beside each."""
    keys, best = varied_keys(results), best_numbers(results, goal)
    shown = f"best {min(most, len(results))} of {len(results)} trials" if len(results) > most else None
    table = Table(title=shown, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    metrics = list(dict.fromkeys([*goal.metrics, "mpck4"]))
    for name in ("trial", "status", *map(title, metrics), "template", "PCK@.2", "epochs"):
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    for name in tails(keys):
        table.add_column(name, justify="right", overflow="ellipsis")
    for result in results[:most]:
        scores = [share(result.metrics.get(name)) for name in (*metrics, "template_mpck4", "pck_0.2")]
        if result.spread is not None:
            scores[0] += f" ± {share(result.spread)}"
        values = [short(result.overrides[key]) if key in result.overrides else "–" for key in keys]
        first = result.number in best
        style = "bold green" if first else STYLES.get(result.status, "")
        mark = f"{result.number}{'★' if first else ' '}"
        status = Text(result.status)
        if result.twin is not None:
            status.append(f" = {result.twin}", "bold yellow")
        if over(result.excess):
            status.append(" over a limit", "bold yellow")
        table.add_row(mark, status, *scores, str(result.epochs), *values, style=style)
    return table


def results_tables(result: SearchResult) -> list[Table]:
    """The best trials and, where trials have several seeds, all of them beside the default."""
    rows = ablation_rows(trial_rows(result.trials), result.goal.metric, result.goal.modes[0])
    return [results_table(result.trials, result.goal), *([ablation_table(rows)] if rows else [])]


def best_numbers(results: list[TrialResult], goal: Goal) -> set[int]:
    """The first trial's; of two metrics, those of the front that trials trained to the end make."""
    if len(goal.metrics) == 1:
        return {result.number for result in results[:1] if result.eligible}
    ended = [result for result in results if result.status == "completed" and result.eligible]
    return goal.front({result.number: result.metrics for result in ended})


def results_lines(folder: Path | str, results: list[TrialResult], facts: dict[str, Any], most: int = 10) -> list[str]:
    """What belongs under the table: what the scores are of, the checkpoints of its trials, failures, files."""
    count = {
        status: sum(result.status == status for result in results)
        for status in ("pruned", "halted", "diverged", "failed", "stopped")
    }
    lost = f"{count['diverged']} diverged, " * (count["diverged"] > 0) + f"{count['failed']} failed"
    cut = f", {count['stopped']} cut off by the budget" if count["stopped"] else ""
    halted = f"{count['halted']} halted, " * (count["halted"] > 0)
    lines = [
        f"{len(results)} trials, {count['pruned']} pruned, {halted}{lost}{cut}; scores are "
        f"{facts['protocol']}, {facts['shots']} shot, {facts['data']} data, split {facts['split']}",
        "checkpoints:",
    ]
    for result in results[:most]:
        if result.checkpoint:
            what = f"{title(facts['goal'][0])} {share(result.score)}"
            lines.append(f"  trial {result.number}  {what}  {folder}/{result.checkpoint}")
    for result in results:
        if result.status in UNSCORED:
            lines.append(
                f"trial {result.number} {result.status}: {result.error}; traceback in {folder}/{result.traceback}"
            )
    lines += [f"trial {result.number}: {why}" for result in results if (why := over(result.excess))]
    same = [f"{result.number} as {result.twin}" for result in results if result.twin is not None]
    if same:
        lines.append(f"trials with the configuration of an earlier one: {', '.join(same)}")
    goal = Goal(tuple(facts["goal"]), tuple(facts.get("mode", ["max"])))
    best = results[0].score if results and results[0].eligible else None
    if len(goal.metrics) == 2 and (front := best_numbers(results, goal)):
        which = ", ".join(str(result.number) for result in results if result.number in front)
        lines.append(f"best are those that none beats in both (★): trials {which}; --best takes the first of them")
    beside = beside_default(trial_rows(results), goal.metric) if len(goal.metrics) == 1 else None
    lines += [beside] if beside else []
    lines += earlier_lines(folder, facts, goal, best)
    return [*lines, f"written: {folder}/results.json, results.csv, best.yaml"]


def next_lines(result: SearchResult) -> list[str]:
    """What to type next."""
    lines = [f"next: {again('train --best', result.folder)}"]
    if result.best is None:
        lines = ["no trial is the best: none has a score and keeps to the constraints"]
    if result.left:
        more = "a larger budget in --space FILE" if result.spent else "more --hours"
        go_on = again("search --resume", result.folder).removeprefix("capetune search ")
        lines.append(f"the budget is spent, {result.left} trials are left: {go_on} with {more} goes on")
    return lines


def report_lines(run: Run, report: Report) -> list[str]:
    """What `capetune report` says of the page that it has written."""
    story, best = report.story, report.story.best
    ended = len(story.rows) - story.open
    lines = [f"{run.name}: {story.state}, {ended} of {run.facts.get('trials', '?')} trials have ended"]
    if best is not None:
        metric = story.goal.metric
        beside = f", template {story.template:.3f} on the same pairs" if metric == "mpck4" and story.template else ""
        lines.append(f"best: trial {best.number}, {title(metric)} {best.metrics[metric]:.3f}{beside}")
    lines += [f"not drawn: {what}: {why}" for what, why in report.missing.items()]
    lines.append(named(f"written: {report.page} ({in_words(report.page.stat().st_size)})"))
    if report.figures:
        names = ", ".join(file.name for file in report.figures)
        lines.append(named(f"         {report.figures[0].parent}: {names}"))
    return lines
