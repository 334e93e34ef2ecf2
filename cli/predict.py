"""`capetune predict`: a template's keypoints in pictures."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    context: typer.Context,
    images: list[Path] = typer.Argument(
        ..., metavar="IMAGE…|FOLDER|VIDEO", help="Pictures, a folder of them, or a video."
    ),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="Folder to make, for poses.json, poses.csv, coco.json."),
    template: Path | None = typer.Option(
        None, "--template", metavar="FILE", help="What to find, as `capetune template make` writes it."
    ),
    support: Path | None = typer.Option(
        None, "--support", metavar="FILE", help="COCO file whose labelled instances show what to find."
    ),
    category: str | None = typer.Option(
        None, "--category", metavar="NAME|ID", help="Of a pack or of --support: its instances show what to find."
    ),
    data: str | None = typer.Option(
        None, "--data", metavar="PACK", help="The category's; default: what the model was trained on."
    ),
    shots: int | None = typer.Option(
        None, "--shots", min=1, help="The first so many of those instances; default: up to 5."
    ),
    box: str | None = typer.Option(None, "--box", metavar="X,Y,W,H", help="The object's place, in pixels."),
    boxes: Path | None = typer.Option(
        None, "--boxes", metavar="FILE", help="COCO file with the boxes; default: each picture as a whole."
    ),
    checkpoint: str | None = typer.Option(
        None, "--checkpoint", metavar="DIR", help="A model's or a run's; default: the best of the latest run."
    ),
    draw: bool = typer.Option(False, "--draw", help="Draw the poses on the pictures too, into DIR/drawn."),
    runs: str = common.Runs,
    as_json: bool = common.Json,
) -> None:
    """Find the keypoints of a template in pictures of your own, and write them with their scores.

    A score is the chance that a keypoint lies within a tenth of the box's longer side; drawn ones below 0.5 are rings.
    An object that fills a tenth of its picture wants a box: a model sees the box with a little around it, at one size.
    Pictures that can't be used are named and left out, and the exit code is 2 then. Each frame of a video is a picture,
    VIDEO#1, VIDEO#2, and so on.

    Examples:

      capetune predict pictures/ --template fly.json --out found --draw

      capetune predict a.jpg b.jpg --support exported.json --boxes exported.json --out found

      capetune predict walk.mp4 --template fly.json --out found

      capetune predict a.jpg --category fly --box 40,20,200,160 --checkpoint runs/mine --out found
    """
    from capetune.service import predict

    result = common.run(predict, predict.PredictRequest.of(**common.asked(context)), as_json)
    if not as_json:
        from capetune.reports.prediction import prediction_lines

        common.say(*prediction_lines(result))
    if result.left_out:
        first, why = next(iter(result.left_out.items()))
        raise UserError(f"{len(result.left_out)} left out of {result.pictures} pictures, such as {first}: {why}")
