"""What a training begins with: a configuration, data, and the checkpoint of an earlier one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capetune.config import Config, differences, load_preset, parse_config
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.events import Listener, StartChosen, Stretched
from capetune.runs.best import ranked_checkpoint
from capetune.runs.checkpoints import META, UNDER_WAY, CheckpointMeta, latest_checkpoint, read_meta
from capetune.runs.copy import bring, evaluated
from capetune.runs.history import finished, read_history
from capetune.runs.home import at_home
from capetune.runs.record import RECORD, Origin, Run, read_run
from capetune.runs.registry import chosen_checkpoint, find_run
from capetune.storage.address import is_address
from capetune.storage.scratch import address_of
from capetune.training.rate import share, steps_of

MORE = "give more with --set train.epochs=…"
MAY_GROW = ("train.epochs", "train.patience")  # of a training that goes on
# Of a model what changes none of its weights' shapes: a training that begins with them may have others.
FREE = (
    "model.dropout",
    "model.decode",
    "model.execution",
    "model.backbone.weights",
    "model.backbone.frozen",
    "model.backbone.precision",
)


@dataclass(frozen=True)
class Source:
    """A checkpoint that another training begins with. named: as it was asked for."""

    checkpoint: Path
    meta: CheckpointMeta
    named: str
    longer: bool

    @property
    def option(self) -> str:
        return "--longer" if self.longer else "--from"

    @property
    def stem(self) -> str:
        """Of the name of what begins with it."""
        folder = self.checkpoint.parent
        run = next((above for above in (folder, *folder.parents[:2]) if (above / RECORD).is_file()), folder)
        return f"{run.name}-{'longer' if self.longer else 'tuned'}"

    def to_json(self) -> Origin:
        """As a run's record has it."""
        place, data = address_of(self.checkpoint) or str(self.checkpoint.resolve()), self.meta.data
        return Origin(
            named=self.named,
            checkpoint=place,
            epoch=self.meta.epoch,
            longer=self.longer,
            pack=data.get("pack"),
            data_hash=data.get("data_hash"),
            split=data.get("split"),
        )

    def say(self, config: Config, listener: Listener) -> None:
        place, data = str(self.to_json()["checkpoint"]), self.meta.data
        listener(StartChosen(place, self.meta.epoch, data["pack"], data["split"], self.longer, config.train.epochs))

    def base(self, preset: str | None) -> Config:
        """What `--config` and `--set` change: all that it was trained by, or a preset's with its model."""
        config = self.meta.config
        return load_preset(preset).model_copy(update={"model": config.model}) if preset else config

    def check(self, config: Config, pack: Pack) -> None:
        """Raises UserError, naming the keys, where a training of `config` can't begin with it."""
        other = {key: pair for key, pair in differences(self.meta.config, config, "model.").items() if key not in FREE}
        if other:
            raise UserError(f"{self.option} {self.named}: the model is the checkpoint's, but {in_words(other)}")
        told, split = self.meta.data, config.data.split
        same = told.get("data_hash") == pack.fingerprint
        if (same or self.longer) and told.get("split") != split:
            raise UserError(
                f"{self.checkpoint} was trained on split {told.get('split')}, and has seen categories that split "
                f"{split} tests; give --split {told.get('split')}"
            )
        if self.longer and not same:
            raise UserError(
                f"{self.checkpoint} was trained on other data ({told.get('pack')}): --longer goes on with the same; "
                f"--from {self.named} trains its weights on yours"
            )
        if self.longer and self.meta.epoch >= config.train.epochs:
            raise UserError(f"{self.checkpoint} is of epoch {self.meta.epoch} already; {MORE}")


def check_backbone(checkpoint: Path) -> None:
    """Raises UserError where kept features, which are the pretrained backbone's, wouldn't be a checkpoint's."""
    from capetune.training.checkpoint import has_pretrained_backbone  # torch: seconds

    bring(checkpoint, wanted=evaluated)
    if not has_pretrained_backbone(checkpoint, read_meta(checkpoint).config.model):
        raise UserError(
            f"--cache-features keeps what the backbone gives as it was pretrained, and that of {checkpoint} has learnt "
            "since; leave it out"
        )


def find_source(runs: Path, named: str, rank: int, longer: bool, copies: ExitStack) -> Source:
    """named: a checkpoint or a run by its folder or address, or a run below `runs` by its name; of a search it is the
    trial in that rank, of a training its best epoch, to go on longer its latest. copies: takes what must be there to
    the end. Raises UserError where there is none."""
    folder = copies.enter_context(at_home(named))
    if is_address(named):
        bring(folder)
    if not (folder / META).is_file() and read_run(folder) is None:
        if folder.exists() and "/" in named:
            raise UserError(f"{named} is neither a checkpoint (no {META}) nor a run (no {RECORD})")
        folder = find_run(runs, named).folder
    run = read_run(folder)
    if rank != 1 and (run is None or run.kind != "search"):
        raise UserError(f"--rank says which trial of a search: {named} is none")
    if run is None:
        checkpoint = chosen_checkpoint(folder)
    elif run.kind == "promote":
        raise UserError(f"{named} is a promotion: name a checkpoint of its jobs, {folder}/…/epoch-NNNN")
    elif run.kind == "search":
        checkpoint = ranked_checkpoint(run, rank)
    else:
        found = latest_checkpoint(folder) if longer else run.best()
        if found is None:
            raise UserError(f"{named} has no checkpoint yet")
        checkpoint = found[0]
    bring(checkpoint, wanted=lambda name: name.endswith(META))
    return Source(checkpoint, read_meta(checkpoint), named, longer)


def begun_with(run: Run, named: str | None, copies: ExitStack) -> Source | None:
    """The checkpoint that a training was begun with, where that is still needed, or asked for by that name."""
    origin = run.facts.get("origin")
    if not origin or named not in (None, origin["named"]):
        return None
    if named is None and latest_checkpoint(run.folder) is not None:
        return None
    try:
        source = find_source(run.folder.parent, origin["checkpoint"], 1, origin["longer"], copies)
    except UserError:
        if named is None:
            raise
        return None  # it isn't there any more, as it was not the best in the end: what goes by that name now
    return replace(source, named=origin["named"])


def came_to_nothing(run: Run) -> bool:
    """Whether a training has ended before anything of it was kept: its name is free for another."""
    kept = read_history(run.folder) or (run.folder / UNDER_WAY).is_dir()
    return run.kind == "train" and run.state_now not in ("running", "completed") and not kept


def own_config(run: Run | None) -> Config | None:
    """That of a training which was begun before, where its record has it."""
    if run is None or run.kind != "train" or not isinstance(run.facts.get("config"), dict):
        return None
    return parse_config(run.facts["config"], str(run.folder / RECORD))


def check_same(run: Run, config: Config, facts: dict[str, Any], source: Source | None) -> Config | None:
    """The configuration that a run has had, where it goes on with more or fewer epochs; None where nothing differs.
    facts: of the data. Raises UserError where it was begun with another configuration, naming the keys, with other data
    or from another checkpoint, or is no training."""
    if run.kind != "train":
        raise UserError(f"{run.folder} was made by `capetune {run.kind}`; choose another --name")
    other = f"{run.folder} holds a run of another configuration or other data; choose another --name"
    if run.facts.get("data_hash", facts["data_hash"]) != facts["data_hash"]:
        raise UserError(other)
    origin = run.facts.get("origin") or {}
    named = None if source is None else source.named
    if run.facts.get("data_hash") and source is not None and origin.get("named") != named:
        begun = f"from {origin['named']}" if origin else "from nothing"
        raise UserError(f"{run.folder} was begun {begun}, not from {named}; choose another --name")
    if run.facts.get("config_hash", config.hash()) == config.hash():
        return None
    before = own_config(run)
    if before is None:
        raise UserError(other)
    pairs = differences(before, config)
    if fixed := {key: pair for key, pair in pairs.items() if key not in MAY_GROW}:
        raise UserError(
            f"{run.folder} holds a run of another configuration: {in_words(fixed)}; leave that as it was, or choose "
            "another --name"
        )
    done = finished(read_history(run.folder))
    if config.train.epochs < done or (done == config.train.epochs and "train.epochs" in pairs):
        raise UserError(f"{run.folder} has trained {done} epochs already; {MORE}")
    return before


def stretched(run: str, before: Config, now: Config, done: int, pack: Pack, workers: int) -> Stretched | None:
    """What becomes of the learning rate after `done` epochs, where a training of `before` goes on by `now`; None where
    its epochs are as many."""
    if before.train.epochs == now.train.epochs:
        return None
    instances = len(pack.part(now.data.split, "train"))

    def rate(config: Config, step: int) -> float:
        train, steps = config.train, steps_of(config.train, instances, workers)
        return train.learning_rate * share(train, steps * train.epochs, max(0, steps * done + step))

    rates = rate(before, -1), rate(now, 0)
    return Stretched(run, done, before.train.epochs, now.train.epochs, *rates, now.train.schedule)


def in_words(pairs: dict[str, tuple[Any, Any]], most: int = 4) -> str:
    """Of `differences`."""
    said = [f"{key} was {before}, not {now}" for key, (before, now) in pairs.items()]
    rest = f"; and {len(said) - most} more" if len(said) > most else ""
    return "; ".join(said[:most]) + rest
