"""An evaluation's report on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

FEW = 100  # pairs
MOST = 30  # categories a table shows; a test part of MP-100 has 20
NUMBERS = ("@.05", "@.10", "@.15", "@.20", "@.25", "mPCK4", "mPCK5", "AUC", "NME", "EPE")
SHORT = ("@.05", "@.10", "@.20", "mPCK4", "AUC", "NME", "EPE")  # of a category: names need room


def print_report(report: Any, console: Console) -> None:
    """report: an EvalReport. Two tables, the predictor's rows above the template's, and what the scores leave out."""
    from rich.table import Table

    head = f"split {report.split} {report.part}, {report.shots}-shot, {report.protocol}"
    total = Table("PCK", title=head)
    shown, left_out = _extremes(report.per_category)
    title = f"By category: the best and the worst {len(shown) // 2}" if left_out else "By category"
    rows = Table("id", "category", "", title=title)
    rows.add_column("pairs", justify="right")
    for title in NUMBERS:
        total.add_column(title, justify="right")
    for title in SHORT:
        rows.add_column(title, justify="right")
    total.add_row(report.predictor, *_numbers(report.scores))
    if report.predictor != "template":
        total.add_row("template", *_numbers(report.template))
    for name, scores in report.ablation.items():
        total.add_row(f"{report.predictor}, {name} support", *_numbers(scores))
    for row in shown:
        pairs = str(row.scores.pairs)
        rows.add_row(str(row.category.id), row.category.name, report.predictor, pairs, *_numbers(row.scores, SHORT))
        if report.predictor != "template":
            rows.add_row("", "", "template", pairs, *_numbers(row.template, SHORT))
    console.print(rows, total)  # what matters most stays in sight
    lines = [f"{left_out} more categories are not shown; --json FILE has them all"] if left_out else []
    lines += [
        f"{len(report.per_category)} of {len(report.per_category) + len(report.not_sampled)} categories, "
        f"{report.scores.pairs} pairs; {report.empty_pairs} of them have no common visible keypoint and score 0",
        f"AUC: of the whole PCK curve; NME: mean error in {_unit(report)}; EPE: the same in pixels of the images",
        f"data: {'synthetic' if report.synthetic else 'real'}",
        _missed_line(report.failures),
    ]
    for name, meant in (
        ("categories", "other categories like these"),
        ("draws", "other supports and queries of these"),
    ):
        found = report.intervals[name]
        if found is not None:
            ends = f"from {found.low:.3f} to {found.high:.3f}"
            lines.append(f"mPCK4 {report.scores.mpck4:.3f}, 95 % interval over {name} {ends}: with {meant}")
    if report.measure == "paper":
        lines.append("PCK by the IMAGE'S DIAGONAL, the paper's preliminary measure: compare it with no official figure")
    lines += _super_lines(report)
    if report.scores.pairs < FEW:
        lines.append(f"{report.scores.pairs} pairs are too few to rest a claim on: take more --episodes or --queries")
    lines += _seen_lines(report)
    if report.comparison is not None:
        lines.append(report.comparison.sentence)
    lines += [
        f"with {name} support mPCK4 falls by {report.scores.mpck4 - scores.mpck4:.3f}"
        for name, scores in report.ablation.items()
    ]
    if report.ablation and "other" not in report.ablation:
        lines.append(f"split {report.split} {report.part} has a single category: there is no other category's template")
    few = [f"{n.category.name} ({n.category.id}): {n.instances}" for n in report.not_sampled if n.instances]
    if few:
        lines.append(f"not sampled, with fewer than {report.shots + report.queries} instances: {', '.join(few)}")
    if report.missing:
        names = ", ".join(f"{category.name} ({category.id})" for category in report.missing)
        lines.append(f"missing, listed without instances: {names}")
    if report.coverage:
        lines.append(f"the pack: {report.coverage.line}")
    if report.left_out:
        lines.append(f"left out: {report.left_out} annotated instances without an image in the pack; see its manifest")
    if report.checkpoint is not None:
        hashes = f"config {report.config_hash}, weights {report.weights_hash}"
        lines.append(f"checkpoint {report.checkpoint}, epoch {report.epoch}, {hashes}")
    lines.append(f"pairs {report.pairs_hash}, data {report.data_hash}")
    for line in lines:
        console.print(line, soft_wrap=True)


def print_reports(reports: Any, console: Console) -> None:
    """reports: EvalReports. One table, a row a result and one for each wrong support, and what sets results apart."""
    from rich.table import Table

    table = Table("result", "split", "shots", title="PCK, and mPCK4 of the template on the same pairs")
    for title in ("pairs", "@.05", "@.10", "@.20", "mPCK4", "mPCK5", "template", "ahead"):
        table.add_column(title, justify="right")
    protocols: dict[str, list[str]] = {}
    for name, report in reports.named().items():
        what = name.split("/")[0]
        protocol = f"{report.part}, {report.protocol}, {'synthetic' if report.synthetic else 'real'} data"
        protocols.setdefault(protocol, []).append(f"{what} split {report.split}, {report.shots}-shot")
        for kind, scores in {"": report.scores, **report.ablation}.items():
            label = f"{what}, {kind} support" if kind else what
            shares = _numbers(scores, ("@.05", "@.10", "@.20", "mPCK4", "mPCK5"))
            beside = (f"{report.template.mpck4:.3f}", f"{scores.mpck4 - report.template.mpck4:+.3f}")
            table.add_row(label, str(report.split), str(report.shots), str(scores.pairs), *shares, *beside)
    console.print(table)
    for protocol, names in protocols.items():
        of = "" if len(protocols) == 1 else f" ({'; '.join(names)})"
        console.print(f"{protocol}{of}", soft_wrap=True)


def _missed_line(failures: Any) -> str:
    """What share of the keypoints was missed, and of which kinds. failures: of `evaluation.failures`."""
    every = max(failures.keypoints, 1)
    missed, template = (f"{count / every:.1%}" for count in (failures.missed, failures.template_missed))
    said = f"a tenth of the longer side off or more: {missed} of the keypoints, the template's {template}"
    counts = failures.to_json()["kinds"].items()
    shares = ", ".join(f"{name} {count / failures.missed:.0%}" for name, count in counts if count)
    return f"{said}; of these {shares}" if shares else said


def _unit(report: Any) -> str:
    return "longer box sides" if report.measure == "official" else "image diagonals"


def _super_lines(report: Any) -> list[str]:
    """mPCK4 by super-category, and what has none."""
    without = sum(not row.category.supercategory for row in report.per_category)
    if not report.supercategories:
        return ["no super-categories: the data names none; a pack from before they were kept is made again for them"]
    lines = ["by super-category, mPCK4 and the template's:"]
    for name, found in report.supercategories.items():
        said = f"{found.categories} categor{'y' if found.categories == 1 else 'ies'}, {found.scores.pairs} pairs"
        lines.append(f"  {name}: {found.scores.mpck4:.3f}, {found.template.mpck4:.3f} ({said})")
    return lines + ([f"  without a super-category: {without} categories"] if without else [])


def _seen_lines(report: Any) -> list[str]:
    """Whether the model was trained on what it was scored on; nothing of what isn't known to be trained."""
    seen = report.seen
    if seen is None:
        return []
    if not seen.known:
        return ["whether the model was trained on these categories or pictures isn't known"]
    if not seen.words:
        return [f"unseen: none of the {seen.of_categories} categories and {seen.of_pictures} pictures was trained on"]
    lines = [f"SEEN: the model was {seen.words} that it is scored on here"]
    named = (("categories", seen.categories[:MOST], len(seen.categories)), ("pictures", seen.examples, seen.pictures))
    for what, names, count in named:
        more = ", …" if count > len(names) else ""
        lines += [f"seen {what}: {', '.join(names)}{more}"] if count else []
    return lines


def _extremes(rows: Any) -> tuple[list[Any], int]:
    """The rows to show, and how many are not: all of them, or the best and the worst of too many."""
    if len(rows) <= MOST:
        return list(rows), 0
    ranked = sorted(rows, key=lambda row: -row.scores.mpck4)
    return ranked[: MOST // 2] + ranked[-(MOST // 2) :], len(rows) - MOST


def _numbers(scores: Any, titles: Sequence[str] = NUMBERS) -> list[str]:
    shares = (*scores.pck, scores.mpck4, scores.mpck5, scores.auc, scores.nme)
    texts = dict(zip(NUMBERS, [*(f"{x:.3f}" for x in shares), f"{scores.epe:.1f}"], strict=True))
    return [texts[title] for title in titles]
