"""`capetune export`: a model as one file for programs without capetune."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from capetune.cli import common


class Format(StrEnum):
    torch = "torch"
    onnx = "onnx"
    card = "card"


def command(
    context: typer.Context,
    checkpoint: str = typer.Argument(
        ..., metavar="CHECKPOINT|NAME", help="Folder of a model or a run, or a run's name."
    ),
    out: Path = typer.Option(..., "--out", metavar="FILE", help="File to write; its model card is FILE.md beside it."),
    format: Format = typer.Option(
        Format.torch, "--format", help="torch: .pt2 of torch.export; onnx: .onnx; card: the model card alone, .md."
    ),
    keypoints: int = typer.Option(100, "--keypoints", min=2, max=1000, help="The most keypoints that it is for."),
    scores: list[Path] = typer.Option(
        [], "--scores", metavar="FILE", help="Of `capetune eval --json`, for the card; may be repeated."
    ),
    runs: str = common.Runs,
    as_json: bool = common.Json,
) -> None:
    """Write all that `predict` does behind the crop as one file: picture, box, template in, keypoints, scores out.

    It takes batches of any size and any number of keypoints up to --keypoints. Before it is there it is run beside
    the model, and refused where a keypoint differs by half a pixel. The card beside it says how to use it, what it was
    trained on, what it scores, and under which licences. ONNX wants pip install 'capetune[export]'.

    Examples:

      capetune export mine --out mine.pt2

      capetune export runs/mine --format onnx --out handed/mine.onnx --scores test.json

      capetune export mine --format card --out MODEL.md
    """
    from capetune.service import export

    result = common.run(export, export.ExportRequest.of(**common.asked(context)), as_json)
    if not as_json:
        from capetune.reports.prediction import export_lines

        common.say(*export_lines(result))
