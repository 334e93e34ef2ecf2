"""The training loop. It knows no framework: `worker` and `tuning.trial` put Ray around it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from capetune.config import Config
from capetune.datasets.episodes.quarantine import left_out_line
from capetune.datasets.packs.reader import Pack
from capetune.models.backbone import Maps
from capetune.models.compiled import compiled_again, compiled_again_line
from capetune.models.estimator import PoseEstimator
from capetune.models.execution import COMPILER, NO_COMPILER
from capetune.pose import Batch
from capetune.runs.checkpoints import CheckpointMeta, read_meta, trained_before
from capetune.runs.facts import describe_data
from capetune.runs.ledger import Ledger
from capetune.storage.scratch import address_of
from capetune.training.checkpoint import Shape, fill, load_training, save_checkpoint
from capetune.training.divergence import Watch, check_scores
from capetune.training.features import Features
from capetune.training.feed import Feed, loader_processes
from capetune.training.laps import Laps, laps_on
from capetune.training.memory import KEPT, LESS, named_memory_error, smaller_batch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.patience import STATE, Patience
from capetune.training.ranks import Ranks
from capetune.training.rate import steps_of
from capetune.training.share import shared
from capetune.training.step import CapturedStep, Learn, Losses, train_step
from capetune.training.under_way import Beginning, State, UnderWay, beginning, rank_states, set_random
from capetune.training.validation import Validation

Metrics = dict[str, float]
Save = Callable[[Path], None]


def fit(
    config: Config,
    pack: Pack,
    report: Callable[[Metrics, Save], None],
    ranks: Ranks | None = None,
    resume: Path | None = None,
    progress: Callable[[int, int, int], None] = lambda epoch, steps, step: None,
    features: Features | None = None,
    under_way: UnderWay | None = None,
    doubt: Callable[[str], None] = lambda line: None,
    ledger: Ledger | None = None,
    weights: Path | None = None,
    patience: Patience | None = None,
) -> None:
    """Train for `config.train.epochs` epochs, or until `patience` is spent, on the split's train part, validating after
    each on its val part.

    report: called after every epoch, on every rank, with its metrics and a function that writes a checkpoint into a
    folder; it may raise to stop. resume: a checkpoint of the same configuration to go on from. progress: called after
    every step with the epoch (from 1), the steps an epoch and the step (from 1). features: kept ones, in place of the
    pack's images. under_way: looked at after every step; where it finds the first epoch begun,
    that is gone on with, as `beginning` says. doubt: hears of train samples that are left out since they can't be read,
    after the epoch in which a rank has met them, on every rank. ledger: is told the ids of every step, by rank 0.
    weights: a checkpoint of the same model to begin with, where there is none to resume: its weights, and nothing else
    of it. patience: hears of every epoch; whoever gives it sees whether it was spent.

    Metrics: epoch; train_ and val_ loss, tokens, coordinates; and of the val part's pairs: mpck4, mpck5, pck_0.05 …
    pck_0.25, template_mpck4, forced_mpck4 (teacher-forced), score_slope and score_offset (`evaluation.calibration`) and
    generate_ms, milliseconds a pair from pixels to keypoints; corrupt, train samples left out so far, and recompiled,
    programs of the model that were compiled again in this epoch, where there are any; stale, where `patience` has a
    most; learning_rate, of the last step; images, trained on by all ranks; and where this rank's time went:
    seconds_data, seconds_steps and what `train_epoch` tells of them, seconds_validation. A rank that is slower than
    others makes those wait in their backward pass, where gradients are exchanged.
    """
    ranks, under_way = ranks or Ranks(), under_way or UnderWay()
    torch.manual_seed(config.seed)
    patience = patience or Patience(config.train.patience)
    model = PoseEstimator(config.model, pretrained=resume is None and weights is None)
    before = [] if resume is None else read_meta(resume).data.get("before", [])
    if resume is None and weights is not None:
        fill(model, weights)
        before = trained_before(read_meta(weights), address_of(weights) or str(weights.resolve()))
    part = pack.part(config.data.split, "train")
    settings, full = config.train, ranks.full or ranks.world
    steps = steps_of(settings, len(part), full)
    working = shared(config, ranks.world, full)
    alone = ranks.world == 1  # what several exchange isn't captured, nor is their model compiled unless it is asked for
    with named_memory_error("for the model by itself", lambda: LESS):
        model.settle(ranks.device, steps * settings.epochs if alone and features is None else 0)
    if torch.device(ranks.device).type == "cuda" and COMPILER is None:
        doubt(NO_COMPILER)
    captured = model.way.captured and alone
    averaged = average(model, settings.ema)
    kept = model if averaged is None else cast(PoseEstimator, averaged.module)  # what is evaluated and saved
    optimizer = make_optimizer(model, settings)
    schedule = make_schedule(optimizer, settings, steps * settings.epochs)
    done = 0
    if resume is not None:
        meta = read_meta(resume)
        done = meta.epoch
        fill(kept, resume)
        state = load_training(resume)
        patience.go_on(state, meta.metrics)
        _restore(optimizer, schedule, state, steps * done)
        if averaged is not None:
            averaged.n_averaged.fill_(schedule.last_epoch)
            model.load_state_dict(state["model"])
    shape = Shape(
        steps=steps,
        world=ranks.world,
        loaders=loader_processes(pack, working, ranks) if features is None else 0,  # those of kept ones change nothing
        batch=working.train.batch_size,
        turns=working.train.accumulate,
    )
    begin = beginning(under_way, done + 1, settings.epochs, shape, ranks)
    if begin.first:
        _restore(optimizer, schedule, begin.state, steps * done + begin.first)
        model.load_state_dict(begin.state["model"])
        if averaged is not None:
            averaged.load_state_dict(begin.state["averaged"])
        begin.state.clear()
    if ledger is not None:
        ledger.begin(done + 1, begin.first)

    def now(together: bool) -> State:
        """What an epoch goes on from; of each rank too, where all ask together."""
        state: State = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        state["schedule"] = schedule.state_dict()
        if averaged is not None:
            state["averaged"] = averaged.state_dict()
        if together or alone:
            state["ranks"] = rank_states(ranks, feed.left_out())
        return state

    wrapped = ranks.wrap(model)
    learn = CapturedStep(wrapped, optimizer, schedule, working) if captured else None
    validation = Validation(kept, pack, config, ranks, features)
    data = describe_data(pack, config.data.split) | ({"before": before} if before else {})
    left_out: set[int] = set()
    compiled_again()  # what an earlier training in this process was compiled for
    warned = False
    with closing(Feed(pack, working, ranks, features, captured or model.way.compiled)) as feed:
        for epoch in range(done + 1, settings.epochs + 1):
            if patience.spent:
                return
            at, begin = begin, Beginning(epoch + 1)
            # Dropout and noise differ by rank and epoch, and repeat when a run is resumed.
            torch.manual_seed((config.seed * 1_000_003 + at.order) * 4099 + ranks.rank)
            if at.mine is not None:
                set_random(ranks.device, at.mine["random"])
                feed.leave_out(at.mine["left_out"].numpy())

            def after(step: int, epoch: int = epoch, at: Beginning = at) -> None:
                if ledger is not None:
                    ledger.add(epoch, step)
                progress(epoch, steps, step)
                if step < steps:  # after the last one the epoch's own checkpoint follows
                    under_way.look(epoch, step, {**shape, "order": at.order, "begun": at.begun}, now)

            laps, turns = laps_on(ranks.device), working.train.accumulate
            batches = feed(at.order, (steps - at.begun) * turns, laps, (at.first - at.begun) * turns)
            metrics = train_epoch(
                wrapped,
                batches if ledger is None else ledger.tap(batches),
                optimizer,
                schedule,
                working,
                ranks.device,
                after,
                averaged,
                at.first,
                learn,
                laps,
            )
            metrics["images"] *= ranks.world
            metrics["learning_rate"] = settings.learning_rate * schedule.lr_lambdas[0](schedule.last_epoch - 1)
            if new := sorted(_left_out(feed, ranks) - left_out):
                left_out.update(new)
                doubt(left_out_line(pack, new))
            if left_out:
                metrics["corrupt"] = float(len(left_out))
            begun = time.monotonic()
            with named_memory_error(f"in the validation of epoch {epoch}", lambda: KEPT):
                metrics |= validation()
            check_scores(metrics, settings.learning_rate)
            metrics["seconds_validation"] = time.monotonic() - begun
            if again := compiled_again():
                metrics["recompiled"] = float(len(again))
            if again and epoch > done + 2 and not warned:  # by then all shapes have come, and validation's too
                warned = True
                doubt(compiled_again_line(epoch, again))
            metrics["epoch"] = epoch
            patience.hear(metrics)
            meta = CheckpointMeta(config, epoch, metrics, data)
            training = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), STATE: patience.state()}
            if averaged is not None:
                training["model"] = model.state_dict()
            report(metrics, partial(save_checkpoint, model=kept, meta=meta, training=training))


def _left_out(feed: Feed, ranks: Ranks) -> set[int]:
    """Ids of what any rank has left out so far."""
    mine = np.append(feed.left_out(), -1)  # a gathered array holds something
    return set(np.concatenate(ranks.gather(mine)).tolist()) - {-1}


def _restore(
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR, state: State, steps: int
) -> None:
    """Load moments and progress; the configuration's own rates and decay stay, for it may have others. steps: that are
    done; of fewer or more workers there were others."""
    own = [(group["weight_decay"], group["initial_lr"]) for group in optimizer.param_groups]
    optimizer.load_state_dict(state["optimizer"])
    at = {"base_lrs": schedule.base_lrs, "last_epoch": steps, "_step_count": steps + 1}
    schedule.load_state_dict({**state["schedule"], **at})
    for group, (decay, rate), factor in zip(optimizer.param_groups, own, schedule.lr_lambdas, strict=True):
        group["weight_decay"], group["initial_lr"], group["capturable"] = decay, rate, False
        group["lr"] = rate * factor(schedule.last_epoch)


def train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Batch, Maps]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    config: Config,
    device: str = "cpu",
    progress: Callable[[int], None] = lambda step: None,
    averaged: AveragedModel | None = None,
    first: int = 0,
    learn: Learn | None = None,
    laps: Laps | None = None,
) -> Metrics:
    """One pass over `batches`, `train.accumulate` of them a step; `averaged` follows the model's weights. first: steps
    of it that were done before. learn: how a step is made; None: by `train_step`. laps: made just before, for the
    batches' source may know of their copying.

    batches: on the device, with pixels and no maps, or without pixels and with what `Backbone.features` once gave.

    Returns train_loss, train_tokens and train_coordinates, means over the steps; images, how many there were; and
    seconds_data, for which the device waited for batches, and seconds_steps, all else of the pass. Of these
    seconds_copy, batches on their way to the device; and, where a step is made by `train_step`, seconds_forward,
    seconds_backward and seconds_optimiser, which `learn`, one CUDA graph, can't tell apart.

    Raises UserError where the loss or the weights are no longer finite: nothing after that would mean anything.
    """
    model.train()

    def as_written(group: Sequence[Batch], kept: Sequence[Maps]) -> Losses:
        return train_step(model, group, optimizer, schedule, config, kept, clock.mark)

    clock, last = laps or laps_on(device), "optimiser" if learn is None else "step"
    learn = learn or as_written
    sums: Losses = {}
    count = first
    left = iter(batches)
    watch = Watch(config.train.learning_rate, device)
    begun, images = time.monotonic(), 0
    while True:
        pairs = list(itertools.islice(left, config.train.accumulate))
        clock.mark("data")
        if not pairs:
            break
        group, kept = [batch for batch, _ in pairs], [maps for _, maps in pairs if maps]
        where = f"at step {count + 1} with a batch of {config.train.batch_size} images of {config.data.size} px"
        with named_memory_error(where, partial(smaller_batch, model, optimizer, config, group, kept, learn)):
            losses = learn(group, kept)
        if averaged is not None:
            averaged.update_parameters(model)
        clock.mark(last)
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value
        count += 1
        images += sum(map(len, group))
        watch.step(count, group, losses["loss"])
        progress(count)
        clock.mark("other")
    watch.end(model)  # and the device with it
    taken, seconds = time.monotonic() - begun, {"copy": 0.0, **clock.read()}
    metrics = {f"train_{name}": (value / max(count - first, 1)).item() for name, value in sums.items()}
    told = ("data", "copy", "forward", "backward", "optimiser")
    metrics |= {f"seconds_{part}": seconds[part] for part in told if part in seconds}
    return metrics | {"images": float(images), "seconds_steps": taken - seconds["data"]}


def average(model: PoseEstimator, decay: float) -> AveragedModel | None:
    """A copy whose weights follow the model's, exponentially averaged with `decay` a step; None where that is 0."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
