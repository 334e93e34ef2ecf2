from __future__ import annotations

import json
from pathlib import Path

import pytest

from capetune.datasets.mp100.catalogue import MP100
from capetune.errors import UserError
from capetune.pose import SPLITS
from capetune.runs.leaderboard import Board, Ours, boards, published

OFFICIAL = Board("official", "real", "test", 1)


def result(pck: float, split: int = 1, **fields) -> dict:
    """As `EvalReport.to_json` has it, as far as it is looked at."""
    tree = {"protocol": "official", "data": "real", "part": "test", "shots": 1, "split": split, "predictor": "model"}
    scores = {"pck": {"0.2": pck, "0.1": 0.5}, "template": {"pck": {"0.2": 0.5}}}
    tree["per_category"] = {str(id): {"name": MP100[id].name} for id in range(1, 21)}
    return {**tree, **scores, "not_sampled": [], "pairs_hash": f"pairs{split}", "mpck4": 0.3, **fields}


@pytest.fixture
def write(tmp_path):
    def write(name: str, tree) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(tree if isinstance(tree, str) else json.dumps(tree))
        return tmp_path / name

    return write


def entries(*paths: Path):
    ours = Ours()
    for path in paths:
        ours.add(path)
    return ours.entries


def test_published_means_are_those_of_their_splits_and_name_their_source():
    rows = published()
    assert len(rows) == 20
    assert {row.grade for row in rows} == {"official", "secondary"}
    for row in rows:
        assert row.source
        assert row.whole is not None or len(row.splits) == 1
        if set(row.splits) == set(SPLITS):
            assert sum(row.splits.values()) / 5 == pytest.approx(row.whole, abs=0.006), row.method


def test_what_is_not_the_official_protocol_stands_apart_in_print_too():
    tables = boards(published())
    assert list(tables)[:2] == [OFFICIAL, Board("official", "real", "test", 5)]
    apart = {row.method.split()[0] for board, rows in tables.items() if board.protocol != "official" for row in rows}
    assert apart == {"CapeLLM", "CapeX", "CapeX-S", "Raster2Seq-CAPE"}
    means = [row.whole for row in tables[OFFICIAL]]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "sampled as officially, 3 episodes of 15 queries a category"},
        {"protocol": "official, 3 instances left out"},
        {"data": "synthetic"},
        {"part": "val"},
        {"shots": 5},
        {"not_sampled": [{"id": 72}]},
    ],
)
def test_another_protocol_partial_data_or_synthetic_data_shares_no_table(write, change):
    whole, other = entries(write("whole.json", result(0.8)), write("other.json", result(0.8, **change)))[::2]
    assert whole.board == OFFICIAL
    assert other.board != OFFICIAL
    assert len(boards([whole, other])) == 2


@pytest.mark.parametrize(
    ("scored", "said"),
    [
        ({101: "crab"}, "categories that are not MP-100's"),
        ({1: "crab"}, "categories that are not MP-100's"),
        ({66: "fly"}, "1 of MP-100's 20 categories"),
    ],
)
def test_ones_own_categories_stand_not_beside_mp100_s(write, scored, said):
    tree = result(0.9, per_category={str(id): {"name": name} for id, name in scored.items()})
    assert {row.board.protocol for row in entries(write("own.json", tree))} == {f"official, {said}"}


def test_a_folder_is_one_method_and_the_mean_of_its_seeds(write):
    for split in SPLITS:
        for seed in (1, 2):
            write(f"mine/split{split}-seed{seed}/eval-1shot-officialx15.json", result(0.8 + seed / 100, split))
    write("mine/promotion.json", {"tables": []})
    folder = write("mine/run.json", {}).parent
    model, template = entries(folder)
    assert model.board == template.board == OFFICIAL
    assert (model.method, model.grade, model.source) == ("mine (model)", "ours", str(folder))
    assert model.splits == pytest.approx(dict.fromkeys(SPLITS, 81.5))
    assert model.whole == pytest.approx(81.5)
    assert model.note == "mean of up to 2 results a split"
    assert template.whole == pytest.approx(50)
    rows = [row.method for row in boards([*published(), model, template])[OFFICIAL]]
    assert rows.index("mine (model)") == rows.index("CapeFormer (2023)") + 1


def test_without_all_five_splits_there_is_no_mean(write):
    write("mine/a.json", result(0.9, 1))
    model, _ = entries(write("mine/b.json", result(0.7, 3)).parent)
    assert model.splits == pytest.approx({1: 90, 3: 70})
    assert model.whole is None


def test_results_of_other_pairs_are_refused_in_one_column(write):
    first, other = write("a.json", result(0.8)), write("b.json", result(0.8, pairs_hash="others"))
    with pytest.raises(UserError, match=r"b\.json and .*a\.json are of different pairs"):
        entries(first, other)


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ("", "is empty: no result of an evaluation"),
        ({"protocol": "official"}, "is odd: data"),
        (result(0.8, split="1"), "is odd: split"),
        (result(1.8), "has no PCK at 0.2 in [0, 1]"),
        (result(0.8) | {"pck": {"0.1": 0.3}}, "has no PCK at 0.2"),
    ],
)
def test_what_is_no_result_is_named(write, tree, line):
    with pytest.raises(UserError) as raised:
        entries(write("odd.json", tree))
    assert line in str(raised.value)


def test_what_is_not_there_or_empty_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: there is no such file"):
        entries(tmp_path / "none.json")
    with pytest.raises(UserError, match="holds no result"):
        entries(tmp_path)
