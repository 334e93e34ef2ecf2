"""`model.support.source` on unseen synthetic categories: the demo's model told the supports' places, how their images
look, or both, for equally many steps on the same kept features.

Of the built-in set's train categories the first ones are taken, with so many instances each. Scored on the val part: as
it is, and shown the images of another category (`other images` of `eval --ablate`) where it looks at any.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from harness import parsed, parser, record
from options import train

from capetune.config import load_config
from capetune.datasets.builtin import open_data
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.support import supports
from capetune.models.backbone import fast_precision
from capetune.training.features import keep_features, open_features

SOURCES = ("geometry", "features", "both")


def smaller(pack: Pack, categories: int, instances: int) -> Pack:
    """The pack, of whose split 1 train so many categories are left, and the first instances of each."""
    part = pack.part(1, "train")
    chosen = [c.id for c in part.categories[:categories]]
    ids = {i.id for c in chosen for i in part.instances[c][:instances]}
    entry = pack.manifest.splits["1"]["train"]
    rows = tuple(row for row in entry.instances if pack.instances[row].id in ids)
    left = entry.model_copy(update={"categories": tuple(chosen), "instances": rows})
    splits = {**pack.manifest.splits, "1": {**pack.manifest.splits["1"], "train": left}}
    return Pack(pack.place, pack.manifest.model_copy(update={"splits": splits}))


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--categories", type=int, default=300)
    made.add_argument("--instances", type=int, default=6)
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--steps", type=int, default=400)
    arguments = parsed(made)
    pack = smaller(open_data("synthetic"), arguments.categories, arguments.instances)
    part, common = pack.part(1, "val"), [f"model.backbone.precision={fast_precision()}"]
    with tempfile.TemporaryDirectory() as folder:
        keep_features(Path(folder) / "kept", pack, load_config("demo", None, common), copies=4)
        features = open_features(Path(folder) / "kept")
        for seed in arguments.seeds:
            for source in SOURCES:
                config = load_config("demo", None, [*common, f"seed={seed}", f"model.support.source={source}"])
                begun = time.monotonic()
                model = train(config, pack, arguments.steps, features)
                row = {"source": source, "categories": arguments.categories, "instances": len(features.ids)}
                row |= {"steps": arguments.steps, "seed": seed, "seconds": round(time.monotonic() - begun)}
                predictor = ModelPredictor(model, pack, config.data, kept=features.validation)
                for shots in (1, 5):
                    report = evaluate(part, predictor, shots, 2, 15)
                    row[str(shots)] = {"mpck4": report.scores.mpck4, "template": report.template.mpck4}
                if config.model.support.looks:
                    predictor.support = supports(part, looks=True)["other images"]
                    row["other images, 1"] = evaluate(part, predictor, 1, 2, 15).scores.mpck4
                record("support", row, arguments.save)


if __name__ == "__main__":
    main()
