"""Train and score on test pairs, beside the template: unseen synthetic categories, or last frames of seen real ones.

`synthetic` trains on kept features, two crops an instance, and counts the seconds that these take; it scores each model
with wrong supports, too. `frames` wants the folders of ../shared/data/mp100-real-images.
"""

from __future__ import annotations

import operator
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import parsed, parser, record
from options import train
from rich.console import Console
from rich.table import Table

from capetune.config import Config, load_config
from capetune.datasets.builtin import open_data
from capetune.datasets.mp100.frames import split_by_frames
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.report import EvalReport
from capetune.evaluation.support import ablations
from capetune.models.backbone import fast_precision
from capetune.models.estimator import PoseEstimator
from capetune.training.features import keep_features, open_features

VIDEOS = ["fly", "openfield_mouse_body", "reaching_mouse_arm", "mirror_mouse_body"]
SETTINGS = {
    "synthetic": ["train.steps=1600", "model.refine=true"],
    "frames": [
        "train.steps=1800",
        "train.batch_size=16",
        "model.backbone.frozen=4",
        "train.backbone_rate=1.0",
        "model.dropout=0.1",
        "data.rotation=45",
        "data.scale=0.3",
    ],
}
EPISODES = {"synthetic": (3, 15), "frames": (50, 8)}  # and queries


def score(
    model: PoseEstimator, config: Config, data: Pack, shots: int, episodes: int, queries: int
) -> dict[str, float]:
    predictor = ModelPredictor(model, data, config.data, losses=config.loss)
    report = evaluate(data.part(1, "test"), predictor, shots, episodes, queries)
    pck = {f"@{t}": value for t, value in report.scores.to_json()["pck"].items()}
    scores = {"mPCK4": report.scores.mpck4, "template": report.template.mpck4, **pck}
    return scores | by_keypoint(report) | {"teacher-forced": predictor.mean_losses()["forced_mpck4"]}


def ablated(model: PoseEstimator, config: Config, data: Pack, episodes: int, queries: int) -> dict[str, float]:
    """mPCK4 of the same 1-shot pairs with each wrong support."""
    part, found = data.part(1, "test"), {}
    for name, support in ablations(part).items():
        predictor = ModelPredictor(model, data, config.data, support=support)
        found[f"{name} support"] = evaluate(part, predictor, 1, episodes, queries).scores.mpck4
    return found


def by_keypoint(report: EvalReport) -> dict[str, float]:
    """PCK with each category weighted by its number of keypoints; official scores weigh every pair alike."""
    sizes = [row.category.graph.size for row in report.per_category]
    found = {}
    for threshold in ("0.05", "0.1"):
        values = [row.scores.to_json()["pck"][threshold] for row in report.per_category]
        found[f"@{threshold} by keypoint"] = sum(map(operator.mul, values, sizes)) / sum(sizes)
    return found


def frames(root: Path, real: Path) -> Pack:
    split_by_frames(real / "annotations", root / "annotations", VIDEOS, val=0)
    pack(root / "annotations", real / "images", root / "pack", size=128)
    return open_pack(root / "pack")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("what", choices=SETTINGS)
    made.add_argument("--real", type=Path, default=Path("../shared/data/mp100-real-images"))
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parsed(made)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = open_data("synthetic", print) if arguments.what == "synthetic" else frames(root, arguments.real)
        for seed in arguments.seeds:
            settings = [f"seed={seed}", f"model.backbone.precision={fast_precision()}", *SETTINGS[arguments.what]]
            config = load_config("demo", None, settings + arguments.set)
            begun = time.monotonic()
            assert config.train.steps is not None
            kept = None
            if arguments.what == "synthetic":
                keep_features(root / f"features-{seed}", data, config, copies=2)
                kept = open_features(root / f"features-{seed}")
            model = train(config, data, config.train.steps, kept)  # no epoch is chosen by its score
            seconds = time.monotonic() - begun
            for shots in (1, 5) if arguments.what == "synthetic" else (1,):
                scores = score(model, config, data, shots, *EPISODES[arguments.what])
                if arguments.what == "synthetic" and shots == 1:
                    scores |= ablated(model, config, data, *EPISODES[arguments.what])
                facts = {"accuracy": arguments.what, "seed": seed, "shots": shots, "seconds": round(seconds)}
                facts |= {"threads": arguments.threads, "settings": arguments.set, "config": config.hash()}
                rows.append(record(f"accuracy-{arguments.what}", facts | scores, arguments.save))
    show(rows, arguments.what)


def show(rows: list[dict[str, Any]], what: str) -> None:
    """Means over the seeds, ± their standard deviation."""
    episodes, queries = EPISODES[what]
    title = (
        f"{what}: split 1 test, {episodes} episodes of {queries} queries, {len({row['seed'] for row in rows})} seeds"
    )
    columns = ["@0.05", "@0.1", "@0.2", "mPCK4", "template", "teacher-forced", "seconds"]
    columns[3:3] = ["@0.05 by keypoint", "@0.1 by keypoint"] if what == "frames" else []
    table = Table("shots", *columns, title=title)
    for shots in sorted({row["shots"] for row in rows}):
        values = [[row[column] for row in rows if row["shots"] == shots] for column in columns]
        table.add_row(str(shots), *map(spread, values[:-1]), f"{statistics.mean(values[-1]):.0f}")
    Console(width=120).print(table)
    wrong = Table("support, 1 shot", "mPCK4", "falls by")
    for name in [key for key in rows[0] if key.endswith(" support")]:
        values = [row[name] for row in rows if name in row]
        falls = [row["mPCK4"] - row[name] for row in rows if name in row]
        wrong.add_row(name.removesuffix(" support"), spread(values), spread(falls))
    if wrong.rows:
        Console(width=120).print(wrong)


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
