"""How many categories a model must see before it generalises: unseen mPCK4 after training on more and more of them.

The set is larger than the built-in one, which trains on 700: it is drawn, packed and its features kept on first use.
With --save the figure of all saved results goes to docs/figures/categories.png.
"""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import matplotlib
from harness import RESULTS, parsed, parser, record
from options import score, train

from capetune.config import Config, load_config
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.models.backbone import fast_precision
from capetune.storage.cache import writable_cache
from capetune.training.features import Features, keep_features, open_features

matplotlib.use("Agg")
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "categories.png"
IN_ALL = 1428  # of which split 1 trains on 1000, validates on 142 and keeps the rest for tests


def large_set() -> Pack:
    root = writable_cache() / "categories"
    if not (root / "pack").is_dir():
        shutil.rmtree(root / "raw", ignore_errors=True)
        generate(root / "raw", categories=IN_ALL)
        pack(root / "raw" / "annotations", root / "raw" / "images", root / "pack", size=128)
        shutil.rmtree(root / "raw")
    return open_pack(root / "pack")


def kept_features(data: Pack, config: Config) -> Features:
    folder = writable_cache() / "categories" / "features"
    if not folder.is_dir():
        keep_features(folder, data, config, copies=2)
    return open_features(folder)


def draw(rows: list[dict], path: Path) -> None:
    """Mean and range over the seeds, against the number of categories."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    counts = sorted({row["categories"] for row in rows})
    for shots, colour in (("1", "tab:blue"), ("5", "tab:orange")):
        scores = [[row[shots]["mpck4"] for row in rows if row["categories"] == count] for count in counts]
        axes.plot(counts, list(map(statistics.mean, scores)), "o-", color=colour, label=f"model, {shots} shot")
        axes.fill_between(counts, list(map(min, scores)), list(map(max, scores)), color=colour, alpha=0.2)
        axes.axhline(rows[0][shots]["template"], color=colour, linestyle="--", label=f"template, {shots} shot")
    axes.set(xscale="log", xlabel="categories trained on (20 images each)", ylabel="mPCK4, unseen categories")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    seeds = len({row["seed"] for row in rows})
    axes.set_title(f"synthetic, split 1 val, {rows[0]['steps']} steps each, {seeds} seeds", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--counts", type=int, nargs="+", default=[20, 75, 300, 1000])
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--steps", type=int, default=800)
    arguments = parsed(made)
    common = [f"model.backbone.precision={fast_precision()}"]
    data = large_set()
    whole, part = kept_features(data, load_config("demo", None, common)), data.part(1, "train")
    for count in arguments.counts:
        instances = sum(len(part.instances[category.id]) for category in part.categories[:count])
        # Kept in the order of the categories: the first ones are a slice.
        features = replace(
            whole,
            maps=tuple(maps[:instances] for maps in whole.maps),
            draws=whole.draws[:instances],
            ids=whole.ids[:instances],
        )
        for seed in arguments.seeds:
            config = load_config("demo", None, [*common, f"seed={seed}"])
            model = train(config, data, arguments.steps, features)
            row = {"categories": count, "instances": instances, "steps": arguments.steps, "seed": seed}
            row |= {str(shots): score(model, data, config, shots) for shots in (1, 5)}
            record("categories", row, arguments.save)
    if arguments.save:
        draw([json.loads(line) for line in (RESULTS / "categories.jsonl").read_text().splitlines()], FIGURE)


if __name__ == "__main__":
    main()
