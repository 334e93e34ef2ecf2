from __future__ import annotations

import json
from types import SimpleNamespace

import optuna
import pytest
import torch

from capetune.config import load_preset
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.history import add_to_history
from capetune.runs.results import trial_folder
from capetune.training.checkpoint import save_checkpoint
from capetune.tuning.ending import Limit
from capetune.tuning.search import Search
from capetune.tuning.space import Budget
from capetune.tuning.space_file import load_space
from capetune.tuning.storage import open_storage
from capetune.tuning.watcher import Watcher

EPOCHS = 3


class Weights:
    """Stands for a model where only the files count."""

    def state_dict(self):
        return {"weight": torch.zeros(2)}


@pytest.fixture
def config():
    return load_preset("demo").with_overrides({"train.epochs": EPOCHS})


@pytest.fixture
def read(tmp_path, config):
    """read(text): the space of that text."""

    def reader(text, base=config):
        (tmp_path / "space.yaml").write_text(text)
        return load_space(tmp_path / "space.yaml", base)

    return reader


@pytest.fixture
def search(tmp_path, config, read):
    """search(text): a search in the folder run/ with that space."""

    def make(text="loss.tokens: {log: [0.05, 2]}\n", **more):
        (tmp_path / "run").mkdir(exist_ok=True)
        budget = Budget(trials=10)
        return Search(config, read(text), None, tmp_path / "run", more.pop("budget", budget), **more)

    return make


@pytest.fixture
def bench(search):
    """A watcher on a study of a journal, with trials to drive by hand."""
    return Bench(search())


class Handle:
    """Stands for an actor's handle: the watcher names what is asked of it."""


class Bench:
    def __init__(self, search, earlier=(), budget=None):
        self.search = search
        self.study = optuna.create_study(
            study_name="run", storage=open_storage(search.folder, None), direction="maximize", load_if_exists=True
        )
        self.heard, self.kept = [], []
        self.limit = Limit(budget or search.budget)
        ears = (self.heard.append, self.kept.append)
        self.watcher = Watcher(search, self.study, list(earlier), self.limit, *ears)

    def trial(self, **overrides):
        """A trial as Tune has it, its values asked of the study."""
        asked = self.study.ask()
        return self.taken({"number": asked.number, "overrides": self.search.space.suggest(asked) | overrides})

    def taken(self, config):
        """What was proposed, as a trial that Tune has started."""
        trial = SimpleNamespace(trial_id=f"id{config['number']}", config=config, status="RUNNING", error=None)
        trial.get_error = lambda: trial.error
        trial.temporary_state = SimpleNamespace(ray_actor=Handle())
        self.watcher.on_trial_start(0, [], trial)
        return trial

    def folder(self, trial):
        return trial_folder(self.search.folder, trial.config["number"])

    def report(self, trial, epoch, score, checkpoint=True):
        """What a trial leaves in its folder after an epoch, and what Tune hears of it."""
        metrics = {"epoch": epoch, "mpck4": score, "template_mpck4": 0.3, "pck_0.2": score, "seconds": 2.0}
        if checkpoint:
            meta = CheckpointMeta(self.search.config, epoch, metrics, {})
            save_checkpoint(self.folder(trial) / f"epoch-{epoch:04d}", Weights(), meta, {})
        add_to_history(self.folder(trial), metrics)
        self.hear(trial, metrics)

    def hear(self, trial, metrics):
        """What Tune hears of an epoch."""
        self.watcher.on_trial_result(0, [], trial, metrics | {"pid": 1, "row": json.dumps(metrics)})
        self.limit(trial.trial_id, metrics)  # Tune's stopper: it calls it

    def end(self, trial, lost=None):
        if lost:
            self.watcher.on_trial_error(0, [], trial)
            trial.status, trial.error = "ERROR", lost
        else:
            trial.status = "TERMINATED"
            self.watcher.on_trial_complete(0, [], trial)
        self.watcher.on_step_end(0, [])
