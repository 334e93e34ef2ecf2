"""`capetune eval`: score a model or a baseline on MP-100's official pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from capetune.cli import common


def command(
    context: typer.Context,
    split: str | None = typer.Option(
        None, "--split", help="Split of MP-100, or several, 1-5; default: the one that the model was trained on."
    ),
    part: Literal["train", "val", "test"] = typer.Option("test", "--part", help="Part of the split."),
    shots: str = typer.Option("1", "--shots", help="Supports a query, or several numbers of them, such as 1,5."),
    episodes: int | None = typer.Option(
        None, "--episodes", min=1, help="Episodes a category; left out, the official 200 for test, 100 for val."
    ),
    queries: int = typer.Option(15, "--queries", min=1, help="Queries an episode."),
    predictor: Literal["model", "template", "center"] = typer.Option("model", "--predictor", help="What to score."),
    data: str | None = typer.Option(
        None, "--data", metavar="PACK", help="A pack, or `synthetic`; default: what the model was trained on."
    ),
    annotations: Path | None = typer.Option(
        None, "--annotations", metavar="DIR", help="Annotation files; enough for template and center."
    ),
    checkpoint: list[str] = typer.Option(
        [], "--checkpoint", metavar="DIR", help="Or a run's name, or an address; repeatable; default: the latest best."
    ),
    ablate: bool = typer.Option(
        False, "--ablate", help="Score it again with noise, a shuffled and another category's support."
    ),
    predictions: Path | None = typer.Option(
        None, "--predictions", metavar="FILE", help="Write what was predicted there, in the format of COCO's results."
    ),
    from_predictions: Path | None = typer.Option(
        None, "--from-predictions", metavar="FILE", help="Score the predictions in this file; they may be anyone's."
    ),
    compare: Path | None = typer.Option(
        None, "--compare", metavar="FILE", help="Another result on the same pairs, as --json wrote it: which is better?"
    ),
    protocol: Literal["official", "paper"] = typer.Option(
        "official", "--protocol", help="paper: its preliminary measure, by the image's diagonal; never comparable."
    ),
    workers: int | None = typer.Option(
        None, "--workers", min=1, help="Workers on a cluster that share the pictures; default: this process alone."
    ),
    cpus: int | None = common.Cpus,
    runs: str = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
    json_file: Path | None = typer.Option(
        None, "--json", metavar="FILE", help='Write it there, several into a folder; "-" prints it alone on stdout.'
    ),
) -> None:
    """Print PCK at five thresholds and both mPCK, beside the template baseline on the same pairs.

    PCK is the share of keypoints that lie closer to the truth than a threshold of the box's longer side; mPCK4 and
    mPCK5 are its means over four and five thresholds, AUC that of its whole curve; NME and EPE are mean errors. The
    template is no model: it puts the supports' mean pose into the query's box. Who isn't ahead of it has learnt
    nothing.

    A file of predictions has an entry a pair: image_id, category_id, annotation_id (the query's), support_ids, episode
    (from 0, in its category) and keypoints: x, y in pixels of the image, and a score, K times.

    Several checkpoints, splits or numbers of supports make one table; each model is scored on its own split only.

    Examples:

      capetune eval

      capetune eval --split 3 --json mine.json --predictions mine-pairs.json

      capetune eval --split 3 --annotations data/annotations --from-predictions theirs-pairs.json --compare mine.json

      capetune eval --split 1 --data shards/ --checkpoint runs/demo-1a2b3c/checkpoint_000003

      capetune eval --checkpoint small --checkpoint large --shots 1,5 --workers 4 --json results/

      capetune eval --split 1-5 --shots 5 --predictor template --annotations data/annotations
    """
    from capetune.reports.evaluation import print_report, print_reports
    from capetune.service import evaluate
    from capetune.service.results import check_out, document, write

    request = evaluate.EvaluateRequest.of(**common.asked(context, "json_file"))
    check_out(request, json_file)
    report = common.run(evaluate, request, err=True)
    alone = str(json_file) == "-"
    if alone:
        typer.echo(document(report))
    elif json_file is not None:
        write(report, json_file)
    (print_reports if request.several else print_report)(report, common.console(err=alone))
