"""Does it search well? TPE + ASHA against random search at full budget: epochs spent until as good a trial is found.

A small model on kept features of a small synthetic set, over a wide space; one trial at a time: the order counts. TPE
+ ASHA ends at half of what random search spent.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import parsed, parser, record
from rich.console import Console
from rich.table import Table

from capetune.cluster.environment import prepare_environment
from capetune.cluster.session import ray_cluster
from capetune.config import load_config
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.training.features import keep_features

SPACE = """
sampler: {sampler}
scheduler: {scheduler}
train.learning_rate: {{log: [0.00001, 0.1]}}
train.weight_decay: {{log: [0.00001, 1.0]}}
train.clip: {{log: [0.01, 10.0]}}
loss.tokens: {{log: [0.01, 10.0]}}
loss.coordinates: {{log: [0.1, 50.0]}}
train.input_noise: {{uniform: [0.0, 0.5]}}
model.dropout: {{uniform: [0.0, 0.5]}}
"""
METHODS = {"random": ("random", "none"), "TPE + ASHA": ("tpe", "asha")}
MODEL = [
    *("model.width=64", "model.heads=4", "model.decoder.layers=2", "model.support.layers=1", "train.batch_size=16"),
    *("train.epochs=27", "train.steps=10", "train.warmup=5", "train.schedule=constant", "train.input_noise=0.05"),
    *("validation.episodes=4", "validation.queries=4", "train.learning_rate=0.0001"),
]


def run(
    method: str, seed: int, trials: int, data: Pack, root: Path, threads: int, epochs: int | None = None
) -> dict[str, Any]:
    """One search. Returns its events in order and the seconds outside training."""
    from capetune.tuning.preflight import Plan
    from capetune.tuning.room import Room
    from capetune.tuning.search import Search
    from capetune.tuning.space import Budget
    from capetune.tuning.space_file import load_space
    from capetune.tuning.study import run_search

    sampler, scheduler = METHODS[method]
    file = root / f"{sampler}.yaml"
    file.write_text(SPACE.format(sampler=sampler, scheduler=scheduler))
    config = load_config("demo", None, [*MODEL, f"seed={seed}"])
    folder = root / f"{sampler}-{seed}"
    budget = Budget(trials=trials, epochs=epochs)
    search = Search(config, load_space(file, config), data, folder, budget, 1, None, root / "features")
    begun = time.monotonic()
    with ray_cluster() as _:
        started = time.monotonic()
        results = run_search(search, Room(Plan(1, 1, threads, "cpu"), ours=True), lambda event: None)
        wall = time.monotonic() - started
    trained = sum(result.seconds for result in results)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    scores = [event["score"] for event in events if event["state"] == "running" and event["epoch"]]
    return {"scores": scores, "overhead": (wall - trained) / len(results), "wall": time.monotonic() - begun}


def epochs_to(scores: list[float], goal: float) -> int | None:
    """How many epochs, over all trials in order, until one had at least that score."""
    return next((i for i, score in enumerate(scores, start=1) if score >= goal), None)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--random", type=int, default=24, help="Trials of random search, each to its last epoch.")
    made.add_argument("--trials", type=int, default=80, help="Trials of TPE + ASHA at most.")
    arguments = parsed(made)
    prepare_environment(None, False)  # before anything imports Ray
    table = Table(
        "seed", "random's best", "its epochs", "TPE + ASHA's best", "epochs to random's best", "ratio", "s a trial"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "raw", categories=60, images=12, size=256)
        pack(root / "raw" / "annotations", root / "raw" / "images", root / "pack", size=128)
        data = open_pack(root / "pack")
        keep_features(root / "features", data, load_config("demo", None, MODEL), 4)
        ratios = []
        for seed in arguments.seeds:
            random = run("random", seed, arguments.random, data, root, arguments.threads)
            spent, best = len(random["scores"]), max(random["scores"])
            ours = run("TPE + ASHA", seed, arguments.trials, data, root, arguments.threads, spent // 2)
            needed = epochs_to(ours["scores"], best)
            ratios.append(None if needed is None else needed / spent)
            facts = {"seed": seed, "random": best, "random_epochs": spent, "tpe_asha": max(ours["scores"])}
            facts |= {"tpe_asha_epochs": len(ours["scores"]), "epochs_to_random": needed, "ratio": ratios[-1]}
            facts |= {"overhead_s": [random["overhead"], ours["overhead"]], "wall_s": [random["wall"], ours["wall"]]}
            record("search", facts, arguments.save)
            shown = [
                "never" if x is None else f"{x:.2f}" if isinstance(x, float) else str(x) for x in (needed, ratios[-1])
            ]
            cells = [f"{best:.3f}", str(spent), f"{max(ours['scores']):.3f}", *shown]
            table.add_row(str(seed), *cells, f"{ours['overhead']:.1f}")
    Console(width=120).print(table)
    median = statistics.median(math.inf if ratio is None else ratio for ratio in ratios)
    print(f"median ratio {median:.2f}; aim 1/3")


if __name__ == "__main__":
    main()
