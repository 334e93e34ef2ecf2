"""`capetune demo`: the whole way on the built-in synthetic data."""

from __future__ import annotations

from pathlib import Path

from capetune.cli import common


def command(runs: Path = common.Runs, verbose: bool = common.Verbose) -> None:
    """Make data, pack, search, train the best, evaluate on unseen categories: about ten minutes on two CPU cores.

    Example:

      capetune demo
    """
    import json
    import time
    from datetime import datetime

    from capetune.cli.eval import command as evaluate
    from capetune.cli.search import Asked, search
    from capetune.cli.train import train
    from capetune.models.backbone import fast_precision

    begun = time.monotonic()
    console = common.console()

    def heading(text: str) -> None:
        console.rule(f"[bold]{text}[/bold]  {time.monotonic() - begun:.0f} s", align="left")

    heading("1 · data: synth and pack")
    pack = common.open_data("synthetic", console)
    console.print(f"{len(pack.instances)} synthetic instances of {len(pack.categories)} categories in {pack.path}")
    heading("2 · search: 4 short trials")
    precision = f"model.backbone.precision={fast_precision()}"
    short = ["data.split=1", "train.epochs=2", "train.steps=50", "train.warmup=20", precision]
    name = f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    search(Asked("demo.yaml", "synthetic", "demo", None, short, name, runs=runs), trials=4, verbose=verbose)
    heading("3 · train --best")
    # The search's trials are short; the best one's loss weights and depth are trained on the preset's own schedule.
    full = [f"train.{key}={value}" for key, value in _schedule().items()]
    checkpoint = train(name, True, None, 1, "demo", None, full, 1, f"{name}-best", runs, None, verbose)
    heading("4 · eval --split 1: categories never seen")
    report = runs / f"{name}-best" / "eval-split1-test.json"
    evaluate(1, "test", 1, 3, 15, "model", None, None, checkpoint, runs, report)
    scores = json.loads(report.read_text())
    ahead = scores["mpck4"] - scores["template"]["mpck4"]
    heading("done")
    console.print(
        f"model mPCK4 {scores['mpck4']:.3f}, template {scores['template']['mpck4']:.3f} on the same {scores['pairs']} "
        f"pairs: {ahead:+.3f}\n"
        f"{scores['protocol']}, split 1 test, 1 shot, unseen categories, synthetic data\n"
        f"search {runs / name}\ncheckpoint {checkpoint}\nreport {report}",
        soft_wrap=True,
        highlight=False,
    )


def _schedule() -> dict[str, int]:
    from capetune.config import load_preset

    preset = load_preset("demo").train
    assert preset.steps is not None
    return {"epochs": preset.epochs, "steps": preset.steps, "warmup": preset.warmup}
