"""Learning on a GPU: whether it is the same as float32's, loading, evaluation, trials side by side, accuracy."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from gpu_speed import SMALL, WAYS, Setting, Tell, Trainer, pixelless
from paper import weights_file

from capetune.config import Config, load_config
from capetune.datasets.builtin import open_data
from capetune.datasets.episodes.stream import train_loader
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.models.estimator import PoseEstimator
from capetune.models.execution import prepare, usual_device
from capetune.storage.cache import writable_cache
from capetune.training.features import Features, keep_features, open_features
from capetune.training.feed import Feed
from capetune.training.laps import laps_on
from capetune.training.loop import train_epoch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.ranks import Ranks
from capetune.training.step import CapturedStep

SECONDS = 4  # for which trials run side by side


def losses(setting: Setting, tell: Tell) -> None:
    """300 steps of `tiny`, the same batches: float32 as written against bfloat16 captured, and compiled."""
    steps, last = (8, 4) if setting.tiny else (300, 50)
    shared = ["model.dropout=0", "train.input_noise=0", f"model.backbone.weights={weights_file()}", "data.workers=8"]
    config = load_config(
        "tiny", None, [*shared, *(["data.workers=0", "train.batch_size=2", *SMALL] if setting.tiny else [])]
    )
    loader = train_loader(open_data("synthetic"), config.data, config.train.batch_size, config.seed)
    batches = list(loader.epoch(1, steps))
    plain = None
    for name, run in setting.ways.items():
        exact = name == "eager"
        torch.set_float32_matmul_precision("highest" if exact else "high")
        torch.backends.cudnn.allow_tf32 = not exact
        precision = {"model.backbone.precision": "float32" if exact else "auto"}
        trainer = Trainer(setting, config.with_overrides(precision), run, batches[0])
        curve, begun = [], time.monotonic()
        for batch in batches:
            trainer.batch = batch.padded(len(batch), 68).to(setting.device)
            curve.append(trainer()["loss"].clone())
        course = torch.stack(curve).tolist()
        first, mean = statistics.mean(course[:last]), statistics.mean(course[-last:])
        plain = mean if exact else plain
        tell(
            "losses",
            run=f"{name}, {'float32' if exact else 'bfloat16'}",
            steps=steps,
            first=round(first, 4),
            last=round(mean, 4),
            of_float32=round(mean / plain, 4) if plain else None,
            seconds=round(time.monotonic() - begun, 1),
        )
    prepare(setting.device)


def loading(setting: Setting, tell: Tell) -> None:
    """The paper's training at batches of 32 with its loader: images a second, and the share of waiting for batches."""
    config = setting.paper([f"model.backbone.weights={weights_file()}", "train.batch_size=32"])
    pack = open_data("synthetic")
    steps = 2 if setting.tiny else 40
    for workers in (0, "auto"):
        asked = config.with_overrides({"data.workers": workers})
        with closing(Course(asked, pack, None, 1000, setting)) as course:
            course.epoch(1, 8)
            metrics = course.epoch(2, steps)
        taken = metrics["seconds_data"] + metrics["seconds_steps"]
        rate, share = metrics["images"] / taken, metrics["seconds_data"] / taken
        tell("loading", workers=workers, images_a_second=round(rate), waiting=round(share, 3))


class Course:
    """A training as `fit` makes one, without validation."""

    def __init__(self, config: Config, pack: Pack, features: Features | None, steps: int, setting: Setting) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device = config, setting.device
        self.model = PoseEstimator(config.model).settle(self.device)
        self.optimizer = make_optimizer(self.model, config.train)
        self.schedule = make_schedule(self.optimizer, config.train, steps)
        captured = self.model.way.captured
        self.learn = CapturedStep(self.model, self.optimizer, self.schedule, config) if captured else None
        self.feed = Feed(pack, config, Ranks(device=self.device), features, self.model.way.shaped)

    def epoch(self, number: int, steps: int) -> dict[str, float]:
        """What `train_epoch` returns."""
        laps = laps_on(self.device)
        batches = self.feed(number, steps, laps)
        how = (self.optimizer, self.schedule, self.config, self.device)
        return train_epoch(self.model, batches, *how, learn=self.learn, laps=laps)

    def close(self) -> None:
        self.feed.close()


def evaluation(setting: Setting, tell: Tell) -> None:
    """The official 200 episodes of 15 queries on 20 categories, with the paper's model."""
    config = setting.paper([f"model.backbone.weights={weights_file()}"])
    pack, episodes = open_data("synthetic"), 1 if setting.tiny else 200
    whole = pack.part(1, "test")
    chosen = whole.categories[:20]
    part = replace(whole, categories=chosen, instances={c.id: whole.instances[c.id] for c in chosen})
    model = PoseEstimator(config.model).settle(setting.device)
    predictor = ModelPredictor(model, pack, config.data, setting.device)
    begun = time.monotonic()
    report = evaluate(part, predictor, 1, episodes, 15)
    seconds = round(time.monotonic() - begun, 1)
    tell("evaluate", pairs=report.scores.pairs, seconds=seconds, model_seconds=round(predictor.seconds, 1))


def trials(setting: Setting, tell: Tell) -> None:
    """Steps of `demo` on kept features a second, of 1, 2, 4 and 8 processes on the card together."""
    if setting.device == "cpu":
        return
    counts = (1, 2, 4, 8)
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(max(counts) + 1), context.Queue()
    processes = [context.Process(target=_trial, args=(i, counts, gate, results)) for i in range(max(counts))]
    for process in processes:
        process.start()
    for count in counts:
        gate.wait(120)
        gate.wait(120)
        rates = [results.get(timeout=60) for _ in range(count)]
        free, total = torch.cuda.mem_get_info()
        tell("trials", at_once=count, steps_a_second=round(sum(rates)), used_gib=round((total - free) / 2**30, 1))
    for process in processes:
        process.join(60)


def _trial(number: int, counts: tuple[int, ...], gate: Any, results: Any) -> None:
    prepare("cuda")
    setting = Setting("cuda", False, 1)
    config, batch, kept = pixelless("cuda")
    trainer = Trainer(setting, config, WAYS["captured"], batch, kept)
    setting.finished(trainer, 10)()
    for at_once in counts:
        gate.wait(120)
        if number < at_once:
            done, begun = 0, time.monotonic()
            while time.monotonic() - begun < SECONDS:
                setting.finished(trainer, 20)()
                done += 20
            results.put(done / (time.monotonic() - begun))
        gate.wait(120)


def scores(setting: Setting, tell: Tell) -> None:
    """mPCK4 of short trainings of `demo` on unseen synthetic categories: as written in float32, and captured."""
    features, pack = kept_features()
    steps = 4 if setting.tiny else 300
    for name in ("captured", "eager"):
        for seed in (1, 2, 3):
            settings = [f"model.execution={name}", f"seed={seed}", "model.refine=true"]
            config = load_config("demo", None, settings)
            begun = time.monotonic()
            model = _train(config, pack, features, steps, setting)
            taken = round(time.monotonic() - begun, 1)
            tell("scores", run=name, seed=seed, steps=steps, seconds=taken, **_score(model, pack, config, setting))


def accuracy(setting: Setting, tell: Tell) -> None:
    """README's accuracy run (1600 steps) at 20 times its budget: how far the method goes on unseen categories."""
    features, pack = kept_features()
    for steps, batch in ((1600, 32), (8000, 128)):
        count = 4 if setting.tiny else steps
        config = load_config("demo", None, ["seed=1", "model.refine=true", f"train.batch_size={batch}"])
        begun = time.monotonic()
        model = _train(config, pack, features, count, setting)
        taken = round(time.monotonic() - begun, 1)
        for shots in (1, 5):
            found = _score(model, pack, config, setting, shots)
            tell("accuracy", steps=count, batch=batch, shots=shots, seconds=taken, **found)


def kept_features() -> tuple[Features, Pack]:
    """Two crops an instance of the built-in data, as `demo`'s backbone sees them; made on first use."""
    config, pack = load_config("demo"), open_data("synthetic")
    folder = writable_cache() / "gpu-features"
    if not folder.is_dir():
        keep_features(folder, pack, config, 2, device=usual_device())
    return open_features(folder), pack


def _train(config: Config, pack: Pack, features: Features, steps: int, setting: Setting) -> PoseEstimator:
    with closing(Course(config, pack, features, steps, setting)) as course:
        course.epoch(1, steps)
    return course.model.eval()


def _score(model: PoseEstimator, pack: Pack, config: Config, setting: Setting, shots: int = 1) -> dict[str, Any]:
    """On the test part's 20 unseen categories: 3 episodes of 15 queries, as README's runs."""
    predictor = ModelPredictor(model, pack, config.data, setting.device, losses=config.loss)
    report = evaluate(pack.part(1, "test"), predictor, shots, 1 if setting.tiny else 3, 15)
    forced = predictor.mean_losses()["forced_mpck4"]
    found = {"mpck4": report.scores.mpck4, "template": report.template.mpck4, "teacher_forced": forced}
    return {name: round(float(value), 4) for name, value in found.items()}
