"""`capetune demo`: the whole way on the built-in synthetic data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capetune.cli import common

SHORT = {"epochs": 2, "steps": 50, "warmup": 20}  # of the search's trials


def command(runs: Path = common.Runs, verbose: bool = common.Verbose) -> None:
    """Make data, pack, search, train the best, evaluate on unseen categories: about ten minutes on two CPU cores.

    Example:

      capetune demo
    """
    from capetune.config import load_preset

    # The search's trials are short; the best one's loss weights and depth are trained on the preset's own schedule.
    preset = load_preset("demo").train
    assert preset.steps is not None
    full = {"epochs": preset.epochs, "steps": preset.steps, "warmup": preset.warmup}
    demo("synthetic", [], SHORT, full, episodes=3, queries=15, runs=runs, verbose=verbose)


def demo(
    data: str,
    settings: Sequence[str],
    short: dict[str, int],
    full: dict[str, int],
    episodes: int,
    queries: int,
    runs: Path,
    verbose: bool = False,
) -> None:
    """The command itself.

    settings: KEY=VALUE, over the preset. short, full: keys of `train` for the search and for its best. episodes,
    queries: of the evaluation.
    """
    import json
    import time
    from datetime import datetime

    from rich.text import Text

    from capetune.cli.eval import command as evaluate
    from capetune.cli.search import Asked, search
    from capetune.cli.train import train
    from capetune.models.backbone import fast_precision

    begun = time.monotonic()
    console = common.console()

    def heading(text: str) -> None:
        console.rule(Text.assemble((text, "bold"), f"  {time.monotonic() - begun:.0f} s"), align="left")

    heading("1 · data: synth and pack")
    pack = common.open_data(data, console)
    what = "synthetic" if pack.synthetic else "real"
    console.print(f"{len(pack.instances)} {what} instances of {len(pack.categories)} categories in {pack.path}")
    heading("2 · search: 4 short trials")
    precision = f"model.backbone.precision={fast_precision()}"
    chosen = ["data.split=1", precision, *_schedule(short), *settings]
    name = f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    search(Asked("demo.yaml", data, "demo", None, chosen, name, runs=runs), trials=4, verbose=verbose)
    heading("3 · train --best")
    checkpoint = train(
        search=name,
        best=True,
        data=None,
        split=None,
        preset=None,
        config_file=None,
        settings=_schedule(full),
        workers=1,
        name=f"{name}-best",
        runs=runs,
        address=None,
        verbose=verbose,
    )
    heading("4 · eval --split 1: categories never seen")
    report = runs / f"{name}-best" / "eval-split1-test.json"
    evaluate(
        split=1,
        part="test",
        shots=1,
        episodes=episodes,
        queries=queries,
        predictor="model",
        data=None,
        annotations=None,
        checkpoint=checkpoint,
        ablate=False,
        runs=runs,
        json_file=report,
    )
    scores = json.loads(report.read_text())
    ahead = scores["mpck4"] - scores["template"]["mpck4"]
    heading("done")
    console.print(
        f"model mPCK4 {scores['mpck4']:.3f}, template {scores['template']['mpck4']:.3f} on the same {scores['pairs']} "
        f"pairs: {ahead:+.3f}\n"
        f"{scores['protocol']}, split 1 test, 1 shot, unseen categories, {what} data\n"
        f"search {runs / name}\ncheckpoint {checkpoint}\nreport {report}",
        soft_wrap=True,
        highlight=False,
    )


def _schedule(keys: dict[str, int]) -> list[str]:
    return [f"train.{key}={value}" for key, value in keys.items()]
