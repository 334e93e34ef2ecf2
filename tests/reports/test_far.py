"""Reports of runs that lie at an address: S3, moto's, on loopback."""

from __future__ import annotations

from uuid import uuid4

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.storage.address import open_place

from .conftest import course


@pytest.fixture
def report(bucket, tmp_path, monkeypatch):
    """report(run): what `capetune report` prints of a run that was sent to a store, its page, and the store."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))

    def make(run) -> tuple[list[str], str, str]:
        runs = f"{bucket}/{uuid4().hex}"
        place = open_place(f"{runs}/{run.name}")
        for file in sorted(run.folder.rglob("*")):
            if file.is_file():
                place.send(file, file.relative_to(run.folder).as_posix())
        done = CliRunner().invoke(app, ["report", run.name, "--runs", runs], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines(), place.read("report.html").decode(), runs

    return make


def test_a_training_s_page_goes_to_where_it_lies(make_training, report, tmp_path):
    lines, page, runs = report(make_training("far", course(3), "interrupted"))
    assert lines[0] == "far: interrupted, 3 of 4 epochs have ended"
    assert lines[-1].startswith(f"written: {runs}/far/report.html (")
    assert f"capetune report far --runs {runs}" in page
    assert str(tmp_path) not in page
    assert list((tmp_path / "cache/copies").iterdir()) == []


def test_a_promotion_s_too(make_promotion, report, tmp_path):
    lines, page, runs = report(make_promotion("far", {(1, 42): 0.4, (1, 43): 0.5}, "interrupted"))
    assert lines[0] == "far: interrupted, 2 of 4 jobs have ended"
    assert "0.450 ± 0.071" in page
    assert str(tmp_path) not in page
    assert lines[-1].startswith(f"written: {runs}/far/report.html (")
