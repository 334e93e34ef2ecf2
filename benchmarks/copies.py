"""What kept features cost in mPCK: as many steps from pixels, from eight augmented copies an instance, and from one."""

from __future__ import annotations

from dataclasses import replace

from harness import parsed, parser, record
from options import kept_features, score, train
from rich.console import Console
from rich.table import Table

from capetune.config import load_config
from capetune.datasets.builtin import open_data
from capetune.models.backbone import fast_precision


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--steps", type=int, default=2000, help="Of 32 instances; 2000 see each about five times.")
    arguments = parsed(made)
    pack = open_data("synthetic", print)
    config = load_config("demo", None, ["seed=1", f"model.backbone.precision={fast_precision()}"])
    kept = kept_features(pack, config)
    one = replace(kept, maps=tuple(maps[:, :1] for maps in kept.maps), draws=kept.draws[:, :1])
    table = Table("trained on", "1 shot", "5 shots", title="mPCK4, split 1 val, unseen synthetic categories")
    for name, features in (("one copy", one), (f"{kept.draws.shape[1]} copies", kept), ("pixels", None)):
        model = train(config, pack, arguments.steps, features)
        scores = {str(shots): score(model, pack, config, shots) for shots in (1, 5)}
        record("copies", {"trained on": name, "steps": arguments.steps, "seed": 1, **scores}, arguments.save)
        table.add_row(name, *(f"{scores[shots]['mpck4']:.3f}" for shots in ("1", "5")))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
