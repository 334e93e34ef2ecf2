"""`capetune eval`: score a model or a baseline on MP-100's official pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    split: int = typer.Option(..., "--split", min=1, max=5, help="Split of MP-100."),
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
    checkpoint: Path | None = typer.Option(
        None, "--checkpoint", metavar="DIR", help="The model's checkpoint; default: the best of the latest run."
    ),
    ablate: bool = typer.Option(
        False, "--ablate", help="Score it again with noise, a shuffled and another category's template as support."
    ),
    runs: Path = common.Runs,
    json_file: Path | None = typer.Option(
        None, "--json", metavar="FILE", help='Write the report there too; "-" prints it alone on stdout.'
    ),
) -> None:
    """Print PCK at five thresholds and both mPCK, beside the template baseline on the same pairs.

    Examples:

      capetune eval --split 3

      capetune eval --split 1 --data shards/ --checkpoint runs/demo-1a2b3c/checkpoint_000003

      capetune eval --split 1 --episodes 5 --ablate

      capetune eval --split 1 --shots 5 --predictor template --annotations data/annotations

      capetune eval --split 3 --part val --predictor center --annotations data/annotations --json center.json
    """
    import json
    import sys
    from dataclasses import replace
    from functools import partial

    from rich.progress import Progress

    from capetune.evaluation import baselines
    from capetune.evaluation.evaluate import evaluate
    from capetune.evaluation.protocol import EPISODES
    from capetune.evaluation.support import ablations
    from capetune.reports.evaluation import print_report
    from capetune.storage.whole import write_aside

    if json_file is not None and str(json_file) != "-" and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise UserError(f"can't write {json_file}: give --json a file in a folder that exists")
    chosen: Any
    used, config_hash = None, None
    if predictor == "model" and annotations is not None:
        raise UserError("a model needs images: give --data PACK, or --predictor template for annotations alone")
    if predictor != "model" and checkpoint is not None:
        raise UserError(f"--predictor {predictor} has no checkpoint; leave out one of the two")
    if predictor != "model" and ablate:
        raise UserError(f"--ablate asks what a model owes to its support; --predictor {predictor} is none")
    if predictor == "model":
        chosen, used, config_hash = _model_predictor(data, checkpoint, runs, split)
        annotated = chosen.pack.part(split, part)
    else:
        chosen = baselines.Template() if predictor == "template" else baselines.Center()
        annotated = _part(annotations, data, split, part)
    supports = {"own": chosen.support, **ablations(annotated)} if ablate else {"own": None}
    if ablate and "other" not in supports:
        typer.echo(f"split {split} {part} has a single category: there is no other category's template", err=True)
    found = {}
    with Progress(console=common.console(err=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        for name, support in supports.items():
            if support is not None:
                chosen.support = support
            task = bar.add_task(f"categories, {name} support" if ablate else "categories", total=None)
            step = partial(_advance, bar, task)
            found[name] = evaluate(
                annotated, chosen, shots, episodes or EPISODES.get(part, EPISODES["val"]), queries, step
            )
    report = replace(
        found.pop("own"),
        checkpoint=used,
        config_hash=config_hash,
        ablation={name: other.scores for name, other in found.items()},
    )
    document = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
    alone = str(json_file) == "-"
    if alone:
        typer.echo(document)
    elif json_file is not None:
        write_aside(json_file, document + "\n")
    print_report(report, common.console(err=alone))


def _advance(bar: Any, task: Any, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _model_predictor(data: str | None, checkpoint: Path | None, runs: Path, split: int) -> tuple[Any, str, str]:
    """The model as a `Predictor`, the checkpoint's path and its config's hash.

    Raises UserError where the model was trained on another split of the same data: it may have seen the categories.
    """
    from capetune.runs.checkpoints import read_meta
    from capetune.runs.registry import latest_best

    if checkpoint is None:
        checkpoint, _ = latest_best(runs)
        typer.echo(f"best checkpoint of the latest run: {checkpoint}", err=True)
    meta = read_meta(checkpoint)
    pack = common.open_data(data or meta.data["pack"], common.console(err=True))
    if meta.data["split"] != split and pack.synthetic == (meta.data["data"] == "synthetic"):
        raise UserError(
            f"{checkpoint} was trained on split {meta.data['split']}: it may have seen categories that split {split} "
            f"tests; train one with `capetune train --split {split}` or evaluate --split {meta.data['split']}"
        )

    # Slow to import: not before what can be refused without them.
    import torch

    from capetune.evaluation.model import ModelPredictor
    from capetune.training.checkpoint import load_model

    model, _ = load_model(checkpoint)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return ModelPredictor(model.to(device), pack, meta.config.data, device), str(checkpoint), meta.config.hash()


def _part(annotations: Path | None, data: str | None, split: int, part: str) -> Any:
    if annotations is not None and data is None:
        from capetune.datasets.mp100.files import find_files, read_part

        files = find_files(annotations)
        if (split, part) not in files:
            there = ", ".join(path.name for path in files.values())
            raise UserError(f"no mp100_split{split}_{part}.json in {annotations}; there are {there}")
        return read_part(files[split, part], split, part)
    if data is not None and annotations is None:
        return common.open_data(data, common.console(err=True)).part(split, part)
    raise UserError("give one of --data PACK and --annotations DIR: it says where the instances come from")
