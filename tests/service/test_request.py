from __future__ import annotations

import importlib
import json
import shlex
from typing import Any

import click
import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capetune.cli.main import app
from capetune.errors import UserError
from capetune.service.door import VERBS, parse_request, read_request
from capetune.service.search import SearchRequest
from capetune.service.train import TrainRequest

COMMANDS = {verb: verb for verb in VERBS} | {"evaluate": "eval"}
NOT_ASKED = {"as_json", "json_file"}  # about the output
SIZES = {"data", "set", "short", "full", "episodes", "queries"}  # of the demo: for those who test it


@pytest.mark.parametrize("verb", VERBS)
def test_a_request_has_the_names_of_its_command_s_options(verb: str) -> None:
    program = typer.main.get_command(app)
    assert isinstance(program, click.Group) or hasattr(program, "commands")
    command = program.commands[COMMANDS[verb]]  # type: ignore[attr-defined]
    fields = set(VERBS[verb][1].model_fields) - {"verb", "version"}
    assert fields - (SIZES if verb == "demo" else set()) == {p.name for p in command.params} - NOT_ASKED


@pytest.mark.parametrize("verb", VERBS)
def test_its_defaults_are_those_of_the_command(verb: str) -> None:
    command = typer.main.get_command(app).commands[COMMANDS[verb]]  # type: ignore[attr-defined]
    typed = {
        "promote": "some-search",
        "steer": "some-search",
        "evaluate": "--split 1",
        "predict": "a.jpg --out found",
        "export": "mine --out mine.pt2",
    }.get(verb, "")
    context = command.make_context("capetune", shlex.split(typed))
    asked = {name: value for name, value in context.params.items() if name not in NOT_ASKED}
    least = {
        "promote": {"name": "some-search"},
        "steer": {"name": "some-search"},
        "evaluate": {"split": 1},
        "predict": {"images": ["a.jpg"], "out": "found"},
        "export": {"checkpoint": "mine", "out": "mine.pt2"},
    }.get(verb, {})
    assert VERBS[verb][1].of(**asked) == VERBS[verb][1].of(**least)


SETTINGS = st.lists(st.sampled_from(["train.epochs=3", "seed=1", "model.width=64"]), max_size=3)
SEARCHES = st.fixed_dictionaries(
    {},
    optional={
        "space": st.text(min_size=1),
        "data": st.text(min_size=1),
        "trials": st.integers(1, 10**6),
        "hours": st.floats(0, 1e4),
        "split": st.integers(1, 5),
        "set": SETTINGS,
        "keep": st.integers(1, 9),
        "cache_features": st.integers(0, 64),
        "track": st.sampled_from(["mlflow", "wandb"]),
        "runs": st.sampled_from(["runs", "/elsewhere/r u n s"]),
        "verbose": st.booleans(),
    },
)


@given(SEARCHES)
def test_it_is_json_there_and_back(fields: dict[str, Any]) -> None:
    request = SearchRequest.of(**fields)
    assert parse_request(json.loads(request.model_dump_json())) == request
    assert SearchRequest.of(**request.model_dump()) == request


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        SearchRequest.of(space="x").trials = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "workers"), [(2, (2, 2)), ("3", (3, 3)), ("2:8", (2, 8)), ((1, 4), (1, 4)), ([1, 4], (1, 4))]
)
def test_workers_are_a_number_or_from_so_many_to_so_many(given: Any, workers: tuple[int, int]) -> None:
    request = TrainRequest.of(workers=given)
    assert request.workers == workers
    assert parse_request(json.loads(request.model_dump_json())) == request


@pytest.mark.parametrize("given", [0, "0", "8:2", "2:", ":4", "a", "2:b", "-1", (1, 2, 3), 1.5, None])
def test_other_workers_are_refused(given: Any) -> None:
    with pytest.raises(UserError, match="--workers: "):
        TrainRequest.of(workers=given)


def test_settings_may_be_a_mapping() -> None:
    values = {
        "train.epochs": 3,
        "data.shots": [1, 5],
        "model.sequence": "xy",
        "train.steps": None,
        "model.refine": True,
    }
    assert SearchRequest.of(set=values).set == (
        "train.epochs=3",
        "data.shots=[1, 5]",
        'model.sequence="xy"',
        "train.steps=null",
        "model.refine=true",
    )


def test_what_was_given_is_said_by_the_options_names() -> None:
    given = SearchRequest.of(resume="a", cache_features=2, set=["seed=1"]).given()
    assert list(given) == ["--set", "--cache-features", "--resume"]


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        (
            {"verb": "search", "trails": 3},
            "no.json: there is no 'trails' in a request to search; did you mean 'trials'?",
        ),
        ({"verb": "search", "trials": 0}, "no.json: --trials: Input should be greater than or equal to 1, not 0"),
        ({"verb": "search", "version": 2}, "no.json: --version: Input should be 1, not 2"),
        (
            {"verb": "serch"},
            'no.json is no request: it wants an object with a "verb", one of search, train, promote, evaluate, '
            "predict, serve, export, demo, steer; did you mean 'search'?",
        ),
        ({"verb": "promote"}, "no.json: --name: Field required, not {'verb': 'promote'}"),
        (
            {"verb": "promote", "name": "a", "splits": "x"},
            "no.json: --splits: wants numbers such as 1,5 or 1-5, not 'x'",
        ),
        ({"verb": "serch"}, 'no.json is no request: it wants an object with a "verb", one of search, train, promote'),
        ([], "no.json is no request"),
    ],
)
def test_what_is_no_request_is_one_line(tree: Any, line: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_request(tree, "no.json")
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_json_or_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"can't read .*none\.json"):
        read_request(tmp_path / "none.json")
    (tmp_path / "torn.json").write_text('{"verb": ')
    with pytest.raises(UserError, match=r"torn\.json is not JSON"):
        read_request(tmp_path / "torn.json")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_knows_no_terminal_and_no_signal(verb: str) -> None:
    """What it tells goes to its listener."""
    source = importlib.import_module(f"capetune.service.{verb}").__file__
    assert source is not None
    with open(source) as stream:
        text = stream.read()
    assert not [word for word in ("print(", "input(", "typer", "from rich", "import rich", "signal.") if word in text]
