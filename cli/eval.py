"""`capetune eval`: score a model or a baseline on MP-100's official pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    context: typer.Context,
    split: int | None = typer.Option(
        None, "--split", min=1, max=5, help="Split of MP-100; default: the one that the model was trained on."
    ),
    part: Literal["train", "val", "test"] = typer.Option("test", "--part", help="Part of the split."),
    shots: int = typer.Option(1, "--shots", min=1, help="Supports a query."),
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
    checkpoint: str | None = typer.Option(
        None, "--checkpoint", metavar="DIR", help="The model's, or its address; default: the best of the latest run."
    ),
    ablate: bool = typer.Option(
        False, "--ablate", help="Score it again with noise, a shuffled and another category's template as support."
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
    runs: str = common.Runs,
    json_file: Path | None = typer.Option(
        None, "--json", metavar="FILE", help='Write the report there too; "-" prints it alone on stdout.'
    ),
) -> None:
    """Print PCK at five thresholds and both mPCK, beside the template baseline on the same pairs.

    PCK is the share of keypoints that lie closer to the truth than a threshold of the box's longer side; mPCK4 and
    mPCK5 are its means over four and five thresholds, AUC that of its whole curve; NME and EPE are mean errors. The
    template is no model: it puts the supports' mean pose into the query's box. Who isn't ahead of it has learnt
    nothing.

    A file of predictions has an entry a pair: image_id, category_id, annotation_id (the query's), support_ids, episode
    (from 0, in its category) and keypoints: x, y in pixels of the image, and a score, K times.

    Examples:

      capetune eval

      capetune eval --split 3 --json mine.json --predictions mine-pairs.json

      capetune eval --split 3 --annotations data/annotations --from-predictions theirs-pairs.json --compare mine.json

      capetune eval --split 1 --data shards/ --checkpoint runs/demo-1a2b3c/checkpoint_000003

      capetune eval --split 1 --episodes 5 --ablate

      capetune eval --split 1 --shots 5 --predictor template --annotations data/annotations

      capetune eval --split 3 --part val --predictor center --annotations data/annotations --json center.json
    """
    import json

    from capetune.reports.evaluation import print_report
    from capetune.service import evaluate
    from capetune.storage.whole import write_aside

    if json_file is not None and str(json_file) != "-" and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise UserError(f"can't write {json_file}: give --json a file in a folder that exists")
    if json_file is not None and json_file == predictions:
        raise UserError("--json and --predictions name one file; give two")
    report = common.run(evaluate, evaluate.EvaluateRequest.of(**common.asked(context, "json_file")), err=True)
    document = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
    alone = str(json_file) == "-"
    if alone:
        typer.echo(document)
    elif json_file is not None:
        write_aside(json_file, document + "\n")
    print_report(report, common.console(err=alone))
