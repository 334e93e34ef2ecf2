from __future__ import annotations

import pytest

from capetune.config import load_preset
from capetune.reports.space import space_lines, space_rows
from capetune.tuning.space_file import load_space


@pytest.fixture
def lines(tmp_path):
    """lines(text): what is said of that space, started from the demo's configuration of 3 epochs."""

    def said(text):
        (tmp_path / "mine.yaml").write_text(text)
        config = load_preset("demo")
        space = load_space(tmp_path / "mine.yaml", config)
        return space_lines(space, config, space_rows(space, config), "preset demo")

    return said


def test_it_is_said_how_many_configurations_there_are_and_how_they_are_searched(lines):
    first, checked, budget = lines(
        "scheduler: none\nmodel.sequence: {choice: [xy, point]}\nmodel.support.layers: {int: [1, 5]}\n"
    )
    assert first == "at most 10 configurations; goal mpck4 (max); sampler tpe; scheduler none"
    assert checked == "checked against preset demo, whose values are the default"
    assert budget == "budget: as the command says; 0 points tried first, after the default"


def test_a_scheduler_that_never_stops_a_trial_is_warned_of(lines):
    text = "scheduler: {name: asha, grace: 50}\nloss.tokens: {log: [0.05, 2]}\n"
    assert lines(text)[1] == (
        "warning: no trial will ever be stopped: asha waits for epoch 50 (grace), and a trial has 3; give a smaller "
        "grace, --set train.epochs=51 or more, or `scheduler: none`"
    )
    assert not [line for line in lines(text.replace("50", "1")) if line.startswith("warning")]
