from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError
from capetune.service.search import SearchRequest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("runs --runs s3://bucket/runs", "--runs s3://bucket/runs"),
        ("search --space losses --runs gs://bucket/runs", "--runs gs://bucket/runs"),
        ("train --runs s3://bucket/runs", "--runs s3://bucket/runs"),
        ("report show --runs s3://bucket/runs", "--runs s3://bucket/runs"),
        ("eval --split 1 --checkpoint s3://bucket/best", "--checkpoint s3://bucket/best"),
        ("data synth --out s3://bucket/data", "--out s3://bucket/data"),
        ("request s3://bucket/request.json", "--file s3://bucket/request.json"),
    ],
)
def test_an_address_where_a_path_is_wanted_is_refused_and_no_folder_is_made(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words.split())
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f"{said}: wanted is a path of this machine, not an address"
    assert list(tmp_path.iterdir()) == []


def test_a_request_refuses_it_too() -> None:
    with pytest.raises(UserError, match="--runs: wanted is a path of this machine, not 's3://bucket/runs'"):
        SearchRequest.of(space="losses", runs="s3://bucket/runs")
    assert SearchRequest.of(space="losses", data="s3://bucket/pack").data == "s3://bucket/pack"
