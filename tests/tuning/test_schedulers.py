from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler, MedianStoppingRule

from capetune.errors import UserError
from capetune.tuning.goal import Goal
from capetune.tuning.schedulers import carries_checkpoints, make_scheduler, recall, rungs
from capetune.tuning.trial import TrialResult

GOAL = Goal(("mpck4",), ("max",))
RANGE = "loss.tokens: {log: [0.05, 2]}\n"


class Trial:
    trial_id = ""


def ended(number, *scores):
    history = [(epoch, score) for epoch, score in enumerate(scores, start=1)]
    return TrialResult(number, {}, "completed", max(scores), {}, history, 1.0, None, None)


def decide(scheduler, *scores, name="new"):
    """What it says of a new trial after each epoch."""
    trial = Trial()
    trial.trial_id = name
    controller = SimpleNamespace(get_live_trials=list)
    scheduler.on_trial_add(controller, trial)
    return [
        scheduler.on_trial_result(controller, trial, {"epoch": epoch, "mpck4": score})
        for epoch, score in enumerate(scores, start=1)
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
def test_each_name_is_its_scheduler(read, config, name, kind):
    space = read(f"scheduler: {name}\n{RANGE}")
    assert type(make_scheduler(space, config, 0)) is kind
    assert carries_checkpoints(space) == (name in ("hyperband", "median"))


def test_a_new_trial_is_measured_by_those_that_ended_before(read, config):
    space = read(f"scheduler: {{name: asha, factor: 2}}\n{RANGE}")
    earlier = [ended(number, 0.5, 0.6, 0.7) for number in range(3)]
    fresh, told = (make_scheduler(space, config, 0) for _ in range(2))
    recall(told, earlier, GOAL)
    assert decide(fresh, 0.1)[0] == "CONTINUE"
    assert decide(told, 0.1)[0] == "STOP"
    assert decide(told, 0.9, name="good")[0] == "CONTINUE"


def test_the_median_rule_remembers_too(read, config):
    space = read(f"scheduler: {{name: median, grace: 2}}\n{RANGE}")
    scheduler = make_scheduler(space, config, 0)
    recall(scheduler, [ended(number, 0.5, 0.6, 0.7) for number in range(4)], GOAL)
    assert decide(scheduler, 0.1, 0.1) == ["CONTINUE", "STOP"]


def test_a_lower_loss_is_better(read, config):
    space = read(f"metric: val_loss\nscheduler: {{name: asha, factor: 2}}\n{RANGE}")
    goal = Goal.of(space.header)
    assert goal.modes == ("min",)
    scheduler = make_scheduler(space, config, 0)
    recall(scheduler, [ended(number, 0.5, 0.4) for number in range(3)], goal)
    trial = SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {"epoch": 1, "val_loss": 0.9}) == "STOP"


def test_rungs_are_the_epochs_at_which_asha_compares(read, config):
    long = config.with_overrides({"train.epochs": 20})
    assert rungs(read(RANGE), long) == [1, 3, 9]
    assert rungs(read(f"scheduler: {{name: asha, grace: 2, factor: 4}}\n{RANGE}"), long) == [2, 8]
    assert rungs(read(f"scheduler: none\n{RANGE}"), long) == []


def test_pbt_refuses_what_a_training_can_not_change(read, config):
    space = read("scheduler: pbt\nsampler: random\nmodel.width: {choice: [96, 128]}\n")
    with pytest.raises(UserError, match=r"line 3: model.width can't change while a trial trains, as pbt wants"):
        make_scheduler(space, config, 0)


def test_pbt_keeps_a_trial_s_number_and_its_values_within_range(read, config):
    space = read(
        "scheduler: pbt\nsampler: random\nloss.tokens: {log: [0.05, 2]}\ndata.shots: {choice: [[1], [1, 5]]}\n"
    )
    scheduler = make_scheduler(space, config, 0)
    poor = SimpleNamespace(config={"number": 3, "overrides": {"loss.tokens": 0.1, "data.shots": "[1]"}})
    good = SimpleNamespace(config={"number": 7, "overrides": {"loss.tokens": 1.9, "data.shots": "[1, 5]"}})
    for _ in range(30):
        changed, _ = scheduler._get_new_config(poor, good)
        assert changed["number"] == 3
        assert 0.05 <= changed["overrides"]["loss.tokens"] <= 2
        config.with_overrides(changed["overrides"])
    assert good.config["number"] == 7
