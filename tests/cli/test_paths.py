from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError
from capetune.service.evaluate import EvaluateRequest
from capetune.service.request import Request
from capetune.service.search import SearchRequest


def refused(words: str, folder: Path, patch: pytest.MonkeyPatch) -> str:
    """What a command says that is refused with nothing made."""
    patch.chdir(folder)
    result = CliRunner().invoke(app, words.split())
    assert isinstance(result.exception, UserError)
    assert list(folder.iterdir()) == []
    return str(result.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("search --space losses --features gs://bucket/kept", "--features gs://bucket/kept"),
        ("train --config s3://bucket/config.yaml", "--config s3://bucket/config.yaml"),
        ("data synth --out s3://bucket/data", "--out s3://bucket/data"),
        ("request s3://bucket/request.json", "--file s3://bucket/request.json"),
        ("demo --runs s3://bucket/runs", "--runs s3://bucket/runs"),
    ],
)
def test_an_address_where_a_path_is_wanted_is_refused_and_no_folder_is_made(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = "wanted is a path of this machine, not an address"
    assert refused(words, tmp_path, monkeypatch) == f"{said}: {wanted}"


@pytest.mark.parametrize("words", ["runs", "search --space losses", "train", "report NAME", "eval --split 1"])
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://host/runs", "ftp://host/runs: addresses begin with s3, gs or http(s), paths with none of them"),
        (
            "s3://user:secret@bucket/runs",
            "s3://bucket/runs: leave out what is more than the place; who you are",
        ),
        ("http://127.0.0.1/runs", "http://127.0.0.1/runs: a web server is for reading: it can't be listed or written"),
    ],
)
def test_an_address_that_can_not_keep_runs_is_refused_before_anything_starts(
    words: str, address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path.with_name(f"{tmp_path.name}-cache")))
    assert refused(f"{words} --runs {address}", tmp_path, monkeypatch).startswith(said)


def test_a_request_refuses_it_too() -> None:
    with pytest.raises(UserError, match="--features: wanted is a path of this machine, not 's3://bucket/kept'"):
        SearchRequest.of(space="losses", features="s3://bucket/kept")
    assert SearchRequest.of(space="losses", data="s3://bucket/pack").data == "s3://bucket/pack"


def test_runs_and_checkpoints_may_lie_at_addresses_and_are_paths_else() -> None:
    assert SearchRequest.of(runs="s3://bucket/runs").runs == "s3://bucket/runs"
    assert SearchRequest.of(runs="some/where").runs == Path("some/where")
    assert EvaluateRequest.of(split=1, checkpoint="gs://bucket/best").checkpoint == ("gs://bucket/best",)
    for address in ("s3://bucket/runs", "some/where"):
        request: Request = SearchRequest.of(runs=address)
        assert SearchRequest.model_validate_json(request.model_dump_json()) == request
