from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture(scope="module")
def mine(tmp_path_factory, tiny_root):
    """A result of the template on small data, by `capetune eval` itself: not official."""
    file = tmp_path_factory.mktemp("results") / "mine_&_yours.json"
    few = ("--episodes", 1, "--queries", 3)
    run(
        "eval",
        "--split",
        1,
        "--predictor",
        "template",
        "--annotations",
        tiny_root / "annotations",
        *few,
        "--json",
        file,
    )
    return file


def test_published_results_are_tabled_and_ours_stand_apart(mine):
    out = run("leaderboard", mine)
    assert "CapeFormer (2023)" in out
    protocol = "sampled as officially, 1 episode of 3 queries a category, categories that are not MP-100's"
    assert f"PCK@0.2, {protocol}, test, 1 shot, real data" in out
    tables = json.loads(run("leaderboard", mine, "--json"))
    [ours] = [table for table in tables if any(row["grade"] == "ours" for row in table["rows"])]
    assert [row["grade"] for row in ours["rows"]] == ["ours", "ours"]
    value = json.loads(mine.read_text())["pck"]["0.2"]
    assert ours["rows"][0]["splits"] == {"1": pytest.approx(100 * value)}
    assert ours["rows"][0]["average"] is None


def test_markdown_has_a_cell_for_each_column_and_names_sources(mine):
    lines = run("leaderboard", mine, "--markdown").splitlines()
    cells = {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}
    assert cells == {13}
    assert any("CapeFormer (2023)" in line and "89.45" in line and "flyinglynx/CapeFormer" in line for line in lines)


def test_latex_has_its_signs_escaped_and_a_cell_for_each_column(mine):
    lines = run("leaderboard", mine, "--latex").splitlines()
    rows = [line for line in lines if r"\\" in line]
    assert {row.split(r" \\")[0].replace(r"\&", "").count("&") for row in rows} == {10}
    assert any(r"mine\_\&\_yours (template)" in row for row in rows)
    assert lines.count(r"\begin{tabular}{lrrrrrrllll}") == lines.count(r"\end{tabular}") == 6


def test_one_way_to_print_is_asked_for():
    with pytest.raises(UserError, match="give one"):
        run("leaderboard", "--latex", "--json")
