"""What each option does to generated mPCK on unseen synthetic categories: the demo with one thing changed at a time.

Options that leave the frozen backbone alone train on kept features, eight crops an instance; the others on pixels.
"""

from __future__ import annotations

import time
from typing import cast

import torch
from harness import parsed, parser, record
from rich.console import Console
from rich.table import Table

from capetune.config import Config, load_config
from capetune.datasets.builtin import open_data
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.models.backbone import fast_precision
from capetune.models.estimator import PoseEstimator
from capetune.storage.cache import writable_cache
from capetune.training.features import Features, keep_features, open_features
from capetune.training.loop import average
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import train_step

OPTIONS = {
    "base": [],
    "xy": ["model.sequence=xy"],
    "no support at step": ["model.support_at_step=false"],
    "refine": ["model.refine=true"],
    "refine, prefix dropout, noise": ["model.refine=true", "train.prefix_dropout=0.3", "train.input_noise=0.1"],
    "refine, category mean": ["model.refine=true", "data.shots=all"],
    "6 decoder layers": ["model.decoder.layers=6"],
    "prefix dropout 0.3": ["train.prefix_dropout=0.3"],
    "input noise 0.1": ["train.input_noise=0.1"],
    "no input noise": ["train.input_noise=0.0"],
    "smoothing 1.5": ["loss.smoothing=1.5"],
    "no token loss": ["loss.tokens=0.0"],
    "ema 0.99": ["train.ema=0.99"],
    "constant rate": ["train.schedule=constant"],
    "no warm-up": ["train.warmup=0"],
    "clip 0.1": ["train.clip=0.1"],
    "category mean as template": ["data.shots=all"],
    "accumulate 2": ["train.accumulate=2"],
    "decode by expectation": ["model.decode=expectation"],
    "decode by both": ["model.decode=both"],
    "stride 8": ["model.backbone.stride=8"],
    "stride 32": ["model.backbone.stride=32"],
    "pyramid": ["model.backbone.stride=pyramid"],
    "last block trained": ["model.backbone.frozen=5", "train.backbone_rate=0.3"],
    "all trained": ["model.backbone.frozen=0", "train.backbone_rate=0.1"],
    "untrained Lite0": ["model.backbone.weights=none", "model.backbone.frozen=0"],
}


def kept_here(config: Config, settings: list[str]) -> bool:
    """Whether the features that the base keeps are also this option's."""
    return not any(setting.startswith("model.backbone.") for setting in settings)


def train(config: Config, pack: Pack, steps: int, features: Features | None) -> PoseEstimator:
    torch.manual_seed(config.seed)
    model = PoseEstimator(config.model).train()
    averaged = average(model, config.train.ema)
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, steps)
    each = config.train.accumulate
    if features is None:
        data = config.data
        pixels = train_batches(pack, data, config.train.batch_size, config.seed, 1, steps=steps * each)
        groups = ([next(pixels) for _ in range(each)] for _ in range(steps))
        pairs = ((group, []) for group in groups)
    else:
        stored = features.loader(TrainSet(pack, config.data.split), config).epoch(1, steps * each)
        pairs = (zip(*(next(stored) for _ in range(each)), strict=True) for _ in range(steps))
    for batches, kept in pairs:
        train_step(model, list(batches), optimizer, schedule, config, list(kept))
        if averaged is not None:
            averaged.update_parameters(model)
    kept_model = model if averaged is None else cast(PoseEstimator, averaged.module)
    return kept_model.eval()


def kept_features(pack: Pack, config: Config) -> Features:
    """Those of the built-in set for this backbone, made on first use: a few minutes and 1.6 GB."""
    folder = writable_cache() / "options-features"
    if not folder.is_dir():
        keep_features(folder, pack, config, copies=8)
    return open_features(folder)


def score(model: PoseEstimator, pack: Pack, config: Config, shots: int) -> dict[str, float]:
    predictor = ModelPredictor(model, pack, config.data, losses=config.loss)
    report = evaluate(pack.part(1, "val"), predictor, shots, 2, 15)
    forced = predictor.mean_losses()["forced_mpck4"]
    return {"mpck4": report.scores.mpck4, "template": report.template.mpck4, "forced": forced}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS), metavar="OPTION")
    made.add_argument("--seeds", type=int, nargs="+", default=[1])
    made.add_argument("--steps", type=int, default=900)
    arguments = parsed(made)
    pack = open_data("synthetic", print)
    common = [f"model.backbone.precision={fast_precision()}"]
    features = kept_features(pack, load_config("demo", None, common))
    table = Table("option", "seed", "1 shot", "5 shots", "teacher-forced, 1 shot", "seconds")
    for name in arguments.only:
        for seed in arguments.seeds:
            config = load_config("demo", None, [*common, f"seed={seed}", *OPTIONS[name]])
            begun = time.monotonic()
            here = features if kept_here(config, OPTIONS[name]) else None
            model = train(config, pack, arguments.steps, here)
            seconds = time.monotonic() - begun
            one, five = (score(model, pack, config, shots) for shots in (1, 5))
            facts = {"option": name, "settings": OPTIONS[name], "seed": seed, "steps": arguments.steps}
            record("options", facts | {"1": one, "5": five, "seconds": round(seconds)}, arguments.save)
            cells = [f"{value:.3f}" for value in (one["mpck4"], five["mpck4"], one["forced"])]
            table.add_row(name, str(seed), *cells, f"{seconds:.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
