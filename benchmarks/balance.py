"""`data.balance` on unbalanced data: the demo's model trained on categories of 2 to 20 instances, scored on others.

Of the built-in set's train categories the first ones are taken, and of each a number of instances whose logarithm is
drawn evenly. Both settings train for as many steps on the same kept features.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from harness import parsed, parser, record
from options import score, train

from capetune.config import load_config
from capetune.datasets.builtin import open_data
from capetune.datasets.packs.reader import Pack
from capetune.models.backbone import fast_precision
from capetune.training.features import keep_features, open_features


def unbalanced(pack: Pack, categories: int) -> Pack:
    """The pack, of whose split 1 train only so many categories are left, with 2 to 20 instances each."""
    rng, part = np.random.default_rng(0), pack.part(1, "train")
    chosen = part.categories[:categories]
    counts = np.round(2 * 10 ** rng.random(len(chosen))).astype(int).tolist()
    ids = {i.id for c, count in zip(chosen, counts, strict=True) for i in part.instances[c.id][:count]}
    entry = pack.manifest.splits["1"]["train"]
    rows = tuple(row for row in entry.instances if pack.instances[row].id in ids)
    left = entry.model_copy(update={"categories": tuple(c.id for c in chosen), "instances": rows})
    splits = {**pack.manifest.splits, "1": {**pack.manifest.splits["1"], "train": left}}
    return Pack(pack.place, pack.manifest.model_copy(update={"splits": splits}))


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--categories", type=int, default=200)
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--steps", type=int, default=400)
    arguments = parsed(made)
    pack = unbalanced(open_data("synthetic"), arguments.categories)
    common = [f"model.backbone.precision={fast_precision()}"]
    with tempfile.TemporaryDirectory() as folder:
        keep_features(Path(folder) / "kept", pack, load_config("demo", None, common), copies=4)
        features = open_features(Path(folder) / "kept")
        for seed in arguments.seeds:
            for balance in ("instances", "categories"):
                config = load_config("demo", None, [*common, f"seed={seed}", f"data.balance={balance}"])
                model = train(config, pack, arguments.steps, features)
                row = {"balance": balance, "categories": arguments.categories, "instances": len(features.ids)}
                row |= {"steps": arguments.steps, "seed": seed}
                row |= {str(shots): score(model, pack, config, shots) for shots in (1, 5)}
                record("balance", row, arguments.save)


if __name__ == "__main__":
    main()
