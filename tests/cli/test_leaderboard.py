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


def test_the_paper_s_measure_has_a_table_of_its_own(mine, tiny_root, tmp_path):
    file = tmp_path / "paper.json"
    few = ("--episodes", 1, "--queries", 3, "--annotations", tiny_root / "annotations")
    run("eval", "--split", 1, "--predictor", "template", "--protocol", "paper", *few, "--json", file)
    tables = json.loads(run("leaderboard", mine, file, "--json"))
    [paper, plain] = [t["table"] for t in tables if any(row["grade"] == "ours" for row in t["rows"])]
    assert "diagonal" in paper
    assert "diagonal" not in plain


def test_a_page_has_every_table_and_row_and_asks_no_network(mine, tmp_path):
    page = tmp_path / "board.html"
    assert f"written: {page}" in run("leaderboard", mine, "--html", page)
    text = page.read_text()
    tables = json.loads(run("leaderboard", mine, "--json"))
    assert text.count('<table class="sortable">') == len(tables)
    assert text.count("<tr>") == sum(len(table["rows"]) + 1 for table in tables)
    assert "mine_&amp;_yours (template)" in text
    assert "http" not in text.replace("http-equiv", "")
    assert len(text) < 100_000  # no figures, so no plotly


def test_a_page_that_can_not_be_written_is_said(mine, tmp_path):
    with pytest.raises(UserError, match="give --html a file in a folder that exists"):
        run("leaderboard", mine, "--html", tmp_path / "nowhere" / "board.html")
    with pytest.raises(UserError, match="four ways to show it; give one"):
        run("leaderboard", mine, "--html", tmp_path / "board.html", "--json")
