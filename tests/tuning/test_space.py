from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from capetune.config import load_preset
from capetune.errors import UserError
from capetune.tuning.space import describe, never_stops
from capetune.tuning.space_file import built_in_spaces, load_space


@pytest.fixture
def config():
    return load_preset("demo")


@pytest.fixture
def read(tmp_path, config):
    """read(text): the space of that text."""

    def reader(text):
        (tmp_path / "space.yaml").write_text(text)
        return load_space(tmp_path / "space.yaml", config)

    return reader


def test_every_kind_of_range_becomes_its_distribution(read):
    space = read(
        "model.vocabulary: {choice: [64, 128]}\n"
        "model.decoder.layers: {int: [2, 6], step: 2}\n"
        "train.batch_size: {int_log: [4, 64]}\n"
        "model.dropout: {uniform: [0, 0.5]}\n"
        "loss.tokens: {log: [0.1, 2]}\n"
    )
    assert {key: parameter.distribution for key, parameter in space.parameters.items()} == {
        "model.vocabulary": CategoricalDistribution([64, 128]),
        "model.decoder.layers": IntDistribution(2, 6, step=2),
        "train.batch_size": IntDistribution(4, 64, log=True),
        "model.dropout": FloatDistribution(0.0, 0.5),
        "loss.tokens": FloatDistribution(0.1, 2.0, log=True),
    }
    words = [describe(parameter.distribution) for parameter in space.parameters.values()]
    assert words == ["choice [64, 128]", "int [2, 6] step 2", "int_log [4, 64]", "uniform [0, 0.5]", "log [0.1, 2]"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loss.token: {log: [0.1, 1]}", "line 1: loss.token: there is no configuration key 'loss.token'; did you mean"),
        ("loss.tokens: {log: [0.1, 1]}\nloss: {log: [1, 2]}", "line 2: loss: 'loss' is a section"),
        (
            "train.epochs: {int: [1, 9]}",
            "train.epochs: trials that differ in it can't be compared; set it for all of them",
        ),
        ("data.split: {int: [1, 5]}", "can't be compared; set it for all of them: --set data.split=…"),
        ("validation.queries: {int: [1, 5]}", "can't be compared; set it for all of them: --set validation.queries=…"),
        ("loss.tokens: 3", "wants a mapping such as {int: [2, 6]}, not 3"),
        ("loss.tokens: {lg: [0.1, 1]}", "there is no 'lg'; give one of choice, int, int_log, uniform, log"),
        ("loss.tokens: {log: [0.1, 1], uniform: [0, 1]}", "2 kinds of range"),
        ("loss.tokens: {log: [1, 0.1]}", "log [1, 0.1] is empty"),
        ("loss.tokens: {log: [0, 1]}", "log [0, 1]"),
        ("loss.tokens: {log: [0.1, high]}", "log wants two numbers [low, high], not [0.1, 'high']"),
        ("loss.tokens: {log: [0.1]}", "log wants two numbers"),
        ("model.decoder.layers: {int: [2, 4.5]}", "int wants two whole numbers"),
        (
            "model.decoder.layers: {int: [2, 40]}",
            "line 1: model.decoder.layers: Input should be less than or equal to 12",
        ),
        ("model.vocabulary: {choice: []}", "choice wants a list with at least one value"),
        ("model.vocabulary: {choice: [64, 2]}", "model.vocabulary: Input should be greater than or equal to 8, not 2"),
        ("data.shots: {choice: [[0], [1, 5]]}", "line 1: data.shots"),
        ("model.backbone.stride: {choice: [9]}", "model.backbone.stride"),
        ("- loss.tokens", "a search space maps keys to ranges"),
        ("", "a search space maps keys to ranges"),
    ],
)
def test_a_wrong_space_is_refused_with_its_line_and_reason(read, text, said):
    with pytest.raises(UserError) as error:
        read(text)
    assert said in str(error.value)
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "loss.tokens: {log: [0.1, 1]}\nseed: 1\nloss.tokens: {log: [1, 2]}",
            "line 3: loss.tokens is given twice, first",
        ),
        ("model.decoder.layers: {int: [2, 6], int: [2, 4]}", "line 1: int is given twice, first in line 1"),
        (
            "model.decoder.layers: {int: [2, 6], step: 3}",
            "line 1: model.decoder.layers: int [2, 6] in steps of 3 never reaches 6: write [2, 5] or [2, 8]",
        ),
        (
            "model.dropout: {uniform: [0, 0.5], step: 0.2}",
            "uniform [0, 0.5] in steps of 0.2 never reaches 0.5: write [0, 0.4] or [0, 0.6]",
        ),
        ("model.decoder.layers: {int: [2, 6], step: 9}", "write [2, 2] or [2, 11]"),
        ("model.decoder.layers: {int: [2, 6], step: 0}", "step 0 must be above 0"),
        ("loss.tokens: {log: [0, 1]}", "log [0, 1] wants numbers above 0: raise the first, or take uniform"),
        ("train.batch_size: {int_log: [0, 8]}", "int_log [0, 8] wants numbers above 0: raise the first, or take int"),
        ("loss.tokens: {log: [1, 2], step: 0.1}", "log takes no step: leave it out, or take uniform"),
        ("loss.tokens: {uniform: [0, .inf]}", "uniform wants two numbers [low, high], not [0, inf]"),
        ("loss.tokens: {uniform: [.nan, 1]}", "uniform wants two numbers [low, high], not [nan, 1]"),
        ("model.dropout: {choice: [0.1, 0.1, 0.5]}", "choices 0.1 and 0.1 make the same configuration: leave one"),
        ("model.dropout: {choice: [0, 0.0, 0.1]}", "choices 0 and 0.0 make the same configuration"),
        ("model.refine: {choice: [false, 0, true]}", "choices False and 0 make the same configuration"),
        ("model.width: {choice: [96, 96.0]}", "choices 96 and 96.0 make the same configuration"),
        ("data.shots: {choice: [[5], 5]}", "choices '[5]' and 5 make the same configuration"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_would_be_searched_otherwise_than_written_is_refused(read, text, said):
    with pytest.raises(UserError) as error:
        read(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_are_those_that_people_write(read):
    space = read("train.learning_rate: {log: [1e-5, 1e-2]}\ntrain.ema: {choice: [0, 9e-1]}\n")
    assert space.parameters["train.learning_rate"].distribution == FloatDistribution(1e-5, 1e-2, log=True)
    assert space.parameters["train.ema"].distribution == CategoricalDistribution([0, 0.9])


def test_a_step_that_reaches_the_end_as_written_is_taken(read):
    """0.3 isn't three times 0.1 in a computer's fractions."""
    assert read("model.dropout: {uniform: [0, 0.3], step: 0.1}").parameters["model.dropout"].distribution.high == 0.3


def test_a_whole_number_may_stand_for_a_share(read, config):
    space = read("points: [{train.ema: 0}]\ntrain.ema: {choice: [0, 0.9]}\n")
    assert space.points(config) == [{"train.ema": 0.0}, {"train.ema": 0}]


def test_yes_and_no_mean_true_and_false_where_the_configuration_has_truth(read):
    space = read("model.refine: {choice: [yes, no]}\nmodel.dropout: {uniform: [0, 0.3], when: {model.refine: yes}}\n")
    assert space.parameters["model.refine"].distribution == CategoricalDistribution([True, False])
    assert space.parameters["model.dropout"].when == {"model.refine": (True,)}


def test_a_search_that_has_begun_keeps_what_optuna_made_of_its_space(tmp_path, config):
    file = tmp_path / "older.yaml"
    file.write_text("model.decoder.layers: {int: [1, 6], step: 2}\nmodel.dropout: {choice: [0.1, 0.1]}\n")
    space = load_space(file, config, begun=True)
    assert space.parameters["model.decoder.layers"].distribution == IntDistribution(1, 5, step=2)


@pytest.mark.parametrize(
    ("scheduler", "epochs", "said"),
    [
        (
            "{name: asha, grace: 50}",
            2,
            "no trial will ever be stopped: asha waits for epoch 50 (grace), and a trial has 2",
        ),
        ("{name: asha, grace: 2}", 2, "give a smaller grace, --set train.epochs=3 or more, or `scheduler: none`"),
        ("{name: median, grace: 4}", 4, "no trial will ever be stopped: median"),
        ("{name: pbt, grace: 4}\nsampler: random", 4, "no trial will ever exchange weights with another: pbt"),
        ("{name: asha, grace: 2}", 3, None),
        ("asha", 1, "a trial has 1"),
        ("none", 1, None),
    ],
)
def test_a_scheduler_that_will_stop_nothing_is_told(read, config, scheduler, epochs, said):
    space = read(f"scheduler: {scheduler}\n{HEADED}")
    line = never_stops(space, config.with_overrides({"train.epochs": epochs}))
    assert line is None if said is None else said in line


def test_values_that_do_not_go_together_are_refused_before_any_trial(read):
    with pytest.raises(UserError, match=r"values that don't go together, such as .*width 96 is not a multiple"):
        read("model.width: {choice: [80, 96]}\nmodel.heads: {choice: [8, 20]}")


def test_trial_zero_takes_the_configuration_s_own_values(read, config):
    space = read("loss.tokens: {log: [0.05, 1]}\nmodel.decoder.layers: {int: [2, 4]}")
    assert space.default(config) == {"loss.tokens": 0.2, "model.decoder.layers": 3}


def test_a_default_outside_its_range_is_said_with_the_cure(read, config):
    space = read("loss.tokens: {log: [0.05, 1]}")
    with pytest.raises(
        UserError,
        match=r"line 1: the configuration's loss.tokens = 3.0 lies outside log \[0.05, 1\]; widen the range, or start",
    ):
        space.default(config.with_overrides({"loss.tokens": 3.0}))


@pytest.mark.parametrize("name", built_in_spaces())
def test_the_built_in_spaces_fit_every_preset_they_are_for(name):
    presets = ("demo",) if name == "demo.yaml" else ("demo", "tiny", "full", "paper")
    for preset in presets:
        config = load_preset(preset)
        space = load_space(name.removesuffix(".yaml"), config)
        assert list(space.default(config)) == list(space.parameters)


def test_lists_are_choices_like_any_other(read, config):
    space = read("data.shots: {choice: [[1], [1, 5], [all]]}")
    assert space.default(config) == {"data.shots": "[1, 5]"}
    choices = space.parameters["data.shots"].distribution.choices
    assert [config.with_overrides({"data.shots": choice}).data.shots for choice in choices] == [(1,), (1, 5), ("all",)]


@pytest.mark.parametrize("name", built_in_spaces())
def test_every_built_in_space_holds_the_demos_configuration(config, name):
    load_space(name, config).default(config)


HEADED = "loss.tokens: {log: [0.05, 2]}\n"


def test_a_header_says_how_to_search(read):
    header = read(
        "metric: pck_0.1\nsampler: random\nscheduler: {name: asha, grace: 2}\nbudget: {trials: 7, hours: 1.5}\n"
        + HEADED
    ).header
    assert (header.metric, header.mode, header.sampler) == (("pck_0.1",), ("max",), "random")
    assert (header.scheduler.name, header.scheduler.grace, header.scheduler.factor) == ("asha", 2, 3)
    assert (header.budget.trials, header.budget.epochs, header.budget.hours) == (7, None, 1.5)


def test_without_a_header_it_is_tpe_and_asha_for_mpck4(read):
    header = read(HEADED).header
    assert (header.metric, header.mode, header.sampler, header.scheduler.name) == (("mpck4",), ("max",), "tpe", "asha")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metric: mpck\n", "line 1: metric: no epoch reports 'mpck'; did you mean mpck"),
        ("mode: up\n", "line 1: mode.0: Input should be 'max' or 'min', not 'up'"),
        ("metric: [mpck4, mpck5, val_loss]\n", "line 1: metric: 3 metrics and 3 modes; give one of each, or two"),
        ("metric: [mpck4, generate_ms]\n", "two metrics want `scheduler: none`"),
        ("metric: [mpck4, generate_ms]\nscheduler: none\nsampler: cmaes\n", "cmaes searches by one metric"),
        (
            "sampler: tpee\n",
            "line 1: sampler: Input should be 'tpe', 'random', 'grid', 'ablation', 'gp', 'cmaes' or 'nsga2', "
            "not 'tpee'",
        ),
        (
            "\nscheduler: {name: asha, graze: 1}\n",
            "line 2: scheduler.graze: Extra inputs are not permitted, not 1; it has",
        ),
        ("scheduler: pbt\n", "so no sampler can learn from them: `sampler: random`"),
        ("budget: {trials: 0}\n", "line 1: budget.trials: Input should be greater than or equal to 1, not 0"),
        ("budget: 40\n", "line 1: budget:"),
        ("metric: [mpck4, mpck4]\nsampler: nsga2\nscheduler: none\n", "line 1: metric: mpck4 stands there twice"),
        (
            "points: [{loss.tokens: 0.5}, {loss.tokens: 1}, {loss.tokens: 5e-1}]\n",
            "points: the 3. point makes the same configuration as the 1.: leave one out",
        ),
        ("points: [{loss.tokens: 3}]\n", "the 1. point has loss.tokens = 3, which lies outside log [0.05, 2]"),
        ("points: [{loss.token: 1}]\n", "the 1. point has loss.token, which has no range here; loss.tokens?"),
    ],
)
def test_a_wrong_header_is_refused_with_its_line_and_reason(read, text, said):
    with pytest.raises(UserError) as error:
        read(text + HEADED)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_header_alone_is_no_space(read):
    with pytest.raises(UserError, match="has no range; a search space maps keys to ranges"):
        read("metric: mpck4\n")


CONDITIONAL = (
    "model.sequence: {choice: [xy, point]}\nmodel.vocabulary: {choice: [64, 128], when: {model.sequence: xy}}\n"
)


def test_a_condition_decides_whether_a_key_is_varied(read, config):
    space = read(CONDITIONAL)
    assert space.default(config) == {"model.sequence": "point"}
    assert space.default(config.with_overrides({"model.sequence": "xy"})) == {
        "model.sequence": "xy",
        "model.vocabulary": 64,
    }
    assert space.points(config) == [{"model.sequence": "point"}]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("{model.refine: true}", "line 2: model.vocabulary: when: model.refine is not a range above this line"),
        ("{model.sequence: yx}", "when: model.sequence is never 'yx': it is choice ['xy', 'point']"),
        ("xy", "when wants a mapping such as {model.sequence: xy}, not 'xy'"),
    ],
)
def test_a_wrong_condition_is_refused(read, condition, said):
    with pytest.raises(UserError) as error:
        read(CONDITIONAL.replace("{model.sequence: xy}", condition))
    assert said in str(error.value)


def test_true_is_not_one(read):
    with pytest.raises(UserError, match=r"model\.refine is never 1"):
        read("model.refine: {choice: [true, false]}\nloss.tokens: {log: [0.05, 2], when: {model.refine: 1}}\n")


def test_a_study_may_go_on_with_wider_or_narrower_ranges(read):
    older = read("loss.tokens: {log: [0.1, 1]}\nmodel.decoder.layers: {int: [2, 6]}\n")
    read("loss.tokens: {log: [0.01, 5]}\nmodel.decoder.layers: {int: [3, 4]}\n").check_extends(older)


def test_a_search_that_has_begun_may_leave_its_default_behind(tmp_path, config):
    file = tmp_path / "narrow.yaml"
    file.write_text("points: [{loss.tokens: 5}]\nloss.tokens: {log: [0.5, 1]}\n")
    with pytest.raises(UserError, match="lies outside"):
        load_space(file, config)
    assert load_space(file, config, begun=True).parameters["loss.tokens"].distribution.low == 0.5


@pytest.mark.parametrize("sampler", ["gp", "cmaes", "nsga2"])
def test_samplers_that_want_one_space_refuse_other_ends(read, sampler):
    older = read(f"sampler: {sampler}\nloss.tokens: {{log: [0.1, 1]}}\n")
    older.check_extends(older)
    with pytest.raises(UserError, match=f"{sampler} learns nothing of trials with other ends; keep them, or take"):
        read(f"sampler: {sampler}\nloss.tokens: {{log: [0.1, 2]}}\n").check_extends(older)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "loss.tokens: {uniform: [0.1, 1]}\n",
            "line 1: loss.tokens was log [0.1, 1], is uniform [0.1, 1]: only the ends",
        ),
        ("loss.tokens: {choice: [0.1, 0.2]}\n", "only the ends of a range may change; begin a new search with --name"),
        ("loss.tokens: {log: [0.1, 1]}\nmodel.dropout: {uniform: [0, 1]}\n", "model.dropout came or went"),
        ("metric: val_loss\nloss.tokens: {log: [0.1, 1]}\n", "a search goes on with its metric, mpck4"),
    ],
)
def test_a_study_does_not_go_on_with_another_kind_of_space(read, text, said):
    older = read("loss.tokens: {log: [0.1, 1]}\n")
    with pytest.raises(UserError) as error:
        read(text.replace("[0, 1]", "[0, 0.9]")).check_extends(older)
    assert said in str(error.value)


def test_choices_can_not_be_added(read):
    older = read("model.vocabulary: {choice: [64, 128]}\n")
    with pytest.raises(UserError, match="a study keeps its choices"):
        read("model.vocabulary: {choice: [64, 128, 256]}\n").check_extends(older)
