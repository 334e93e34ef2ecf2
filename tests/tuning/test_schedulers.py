from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler, MedianStoppingRule

from capetune.errors import UserError
from capetune.runs.history import add_to_history
from capetune.runs.results import TrialResult, trial_folder
from capetune.tuning.goal import Goal
from capetune.tuning.schedulers import carries_checkpoints, ends, make_scheduler, recall, rungs

RANGE = "loss.tokens: {log: [0.05, 2]}\n"


class Trial:
    pass


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def trained(run, number, *scores, metric="mpck4"):
    """A trial's folder after these epochs."""
    for epoch, score in enumerate(scores, start=1):
        add_to_history(trial_folder(run, number), {"epoch": epoch, metric: score})
    return TrialResult(number, {}, "completed", max(scores), {}, [], 1.0, None, None)


def decide(scheduler, *scores, number=50, first=1):
    """What it says of a trial after each epoch from the `first` on."""
    trial = Trial()
    trial.trial_id, trial.config = str(number), {"number": number}
    controller = SimpleNamespace(get_live_trials=list)
    scheduler.on_trial_add(controller, trial)
    return [
        scheduler.on_trial_result(controller, trial, {"epoch": epoch, "mpck4": score})
        for epoch, score in enumerate(scores, start=first)
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("asha", ASHAScheduler),
        ("hyperband", HyperBandScheduler),
        ("median", MedianStoppingRule),
        ("none", FIFOScheduler),
    ],
)
def test_each_name_is_its_scheduler(read, config, run, name, kind):
    space = read(f"scheduler: {name}\n{RANGE}")
    assert isinstance(make_scheduler(space, config, run), kind)
    assert carries_checkpoints(space) == (name in ("hyperband", "median"))


def test_a_new_trial_is_measured_by_those_that_ended_before(read, config, run):
    space = read(f"scheduler: {{name: asha, factor: 2}}\n{RANGE}")
    earlier = [trained(run, number, 0.5, 0.6, 0.7) for number in range(3)]
    fresh, told = (make_scheduler(space, config, run) for _ in range(2))
    recall(told, earlier)
    assert decide(fresh, 0.1)[0] == "CONTINUE"
    assert decide(told, 0.1)[0] == "STOP"
    assert decide(told, 0.9, number=51)[0] == "CONTINUE"


def test_a_trial_that_goes_on_is_compared_at_the_rungs_it_has_passed_by_what_it_had_there(read, config, run):
    long = config.with_overrides({"train.epochs": 20})
    scheduler = make_scheduler(read(f"scheduler: {{name: asha, factor: 3}}\n{RANGE}"), long, run)
    trained(run, 0, 0.1, 0.2, 0.5, 0.6)
    assert decide(scheduler, 0.7, number=0, first=5) == ["CONTINUE"]
    assert decide(scheduler, 0.2, number=1) == ["CONTINUE"]  # better than 0.1 at the first rung
    assert decide(scheduler, 0.05, number=2) == ["STOP"]


def test_the_median_rule_remembers_too(read, config, run):
    space = read(f"scheduler: {{name: median, grace: 2}}\n{RANGE}")
    scheduler = make_scheduler(space, config, run)
    recall(scheduler, [trained(run, number, 0.5, 0.6, 0.7) for number in range(4)])
    assert decide(scheduler, 0.1, 0.1) == ["CONTINUE", "STOP"]


def test_a_lower_loss_is_better(read, config, run):
    space = read(f"metric: val_loss\nscheduler: {{name: asha, factor: 2}}\n{RANGE}")
    goal = Goal.of(space.header)
    assert goal.modes == ("min",)
    scheduler = make_scheduler(space, config, run)
    recall(scheduler, [trained(run, number, 0.5, 0.4, metric="val_loss") for number in range(3)])
    trial = SimpleNamespace(trial_id="new", config={"number": 9})
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {"epoch": 1, "val_loss": 0.9}) == "STOP"


def test_rungs_are_the_epochs_at_which_asha_compares(read, config):
    long = config.with_overrides({"train.epochs": 20})
    assert rungs(read(RANGE), long) == [1, 3, 9]
    assert rungs(read(f"scheduler: {{name: asha, grace: 2, factor: 4}}\n{RANGE}"), long) == [2, 8]
    assert rungs(read(f"scheduler: none\n{RANGE}"), long) == []


def test_pbt_refuses_what_a_training_can_not_change(read, config, run):
    space = read("scheduler: pbt\nsampler: random\nmodel.width: {choice: [96, 128]}\n")
    with pytest.raises(UserError, match=r"line 3: model.width can't change while a trial trains, as pbt wants"):
        make_scheduler(space, config, run)


def test_pbt_keeps_a_trial_s_number_and_its_values_within_range(read, config, run):
    space = read(
        "scheduler: pbt\nsampler: random\nloss.tokens: {log: [0.05, 2]}\ndata.shots: {choice: [[1], [1, 5]]}\n"
    )
    scheduler = make_scheduler(space, config, run)
    poor = SimpleNamespace(config={"number": 3, "overrides": {"loss.tokens": 0.1, "data.shots": "[1]"}})
    good = SimpleNamespace(config={"number": 7, "overrides": {"loss.tokens": 1.9, "data.shots": "[1, 5]"}})
    for _ in range(30):
        changed, _ = scheduler._get_new_config(poor, good)
        assert changed["number"] == 3
        assert 0.05 <= changed["overrides"]["loss.tokens"] <= 2
        config.with_overrides(changed["overrides"])
    assert good.config["number"] == 7


@pytest.mark.parametrize(
    ("scheduler", "wanted"),
    [("asha", {1, 3, 6}), ("none", {6}), ("median", None)],
)
def test_a_trial_may_end_at_rungs_and_at_its_end(read, config, scheduler, wanted):
    space = read(f"scheduler: {scheduler}\nloss.tokens: {{log: [0.1, 1]}}\n")
    assert ends(space, config.with_overrides({"train.epochs": 6})) == (None if wanted is None else frozenset(wanted))
