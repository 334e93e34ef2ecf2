"""How many categories a model must see before it generalises: unseen mPCK4 after training on more and more of them.

With --save the figure goes to docs/figures/categories.png.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
from harness import parsed, parser, record
from options import kept_features, score, train

from capetune.config import load_config
from capetune.datasets.builtin import open_data
from capetune.models.backbone import fast_precision

matplotlib.use("Agg")
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "categories.png"


def draw(rows: list[dict], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    counts = [row["categories"] for row in rows]
    for shots, colour in (("1", "tab:blue"), ("5", "tab:orange")):
        axes.plot(counts, [row[shots]["mpck4"] for row in rows], "o-", color=colour, label=f"model, {shots} shot")
        axes.axhline(rows[0][shots]["template"], color=colour, linestyle="--", label=f"template, {shots} shot")
    axes.set(xscale="log", xlabel="categories trained on (20 images each)", ylabel="mPCK4, unseen categories")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_title(f"synthetic, split 1 val, {rows[0]['steps']} steps each", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--counts", type=int, nargs="+", default=[20, 75, 300, 700])
    made.add_argument("--steps", type=int, default=1500)
    arguments = parsed(made)
    pack = open_data("synthetic", print)
    config = load_config("demo", None, ["seed=1", f"model.backbone.precision={fast_precision()}"])
    whole, part = kept_features(pack, config), pack.part(1, "train")
    rows = []
    for count in arguments.counts:
        instances = sum(len(part.instances[category.id]) for category in part.categories[:count])
        # Kept in the order of the categories: the first ones are a slice.
        features = replace(
            whole,
            maps=tuple(maps[:instances] for maps in whole.maps),
            draws=whole.draws[:instances],
            ids=whole.ids[:instances],
        )
        model = train(config, pack, arguments.steps, features)
        row = {"categories": count, "instances": instances, "steps": arguments.steps, "seed": 1}
        row |= {str(shots): score(model, pack, config, shots) for shots in (1, 5)}
        rows.append(record("categories", row, arguments.save))
    if arguments.save:
        draw(rows, FIGURE)


if __name__ == "__main__":
    main()
