from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console
from scipy import stats

from capetune.config import load_preset
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.reports.promotion import promotion_table
from capetune.runs.paired import interval
from capetune.runs.promotion import Promotion, read_tables, report_name, summary, tabulated, with_table
from capetune.runs.record import TABLES


@pytest.fixture
def promotion(tmp_path, tiny_pack):
    return Promotion(load_preset("demo"), open_pack(tiny_pack), tmp_path, (1, 2), (1, 5), 2, 3, 15)


def score(promotion, split, seed, shots, mpck4):
    folder = promotion.folder / f"split{split}-seed{seed}"
    folder.mkdir(exist_ok=True)
    tree = {"mpck4": mpck4, "template": {"mpck4": 0.3 + split / 100}}
    (folder / report_name(shots, 3, 15)).write_text(json.dumps(tree))


def test_there_is_a_job_for_every_split_and_seed(promotion):
    assert [job["name"] for job in promotion.jobs()] == [
        *("split1-seed42", "split1-seed43"),
        *("split2-seed42", "split2-seed43"),
    ]
    assert promotion.jobs()[3]["overrides"] == {"data.split": 2, "seed": 43}
    assert promotion.left() == promotion.jobs()


def test_means_are_over_splits_and_the_interval_over_seeds(promotion):
    for (split, seed), value in {(1, 42): 0.4, (1, 43): 0.5, (2, 42): 0.6, (2, 43): 0.9}.items():
        score(promotion, split, seed, 1, value)
    one, five = summary(promotion)
    assert one["splits"] == {1: pytest.approx(0.45), 2: pytest.approx(0.75)}
    assert one["mpck4"] == pytest.approx(0.6)
    assert one["template"] == pytest.approx(0.315)
    low, high = stats.t.interval(0.95, 1, loc=0.6, scale=stats.sem([0.5, 0.7]))
    assert (one["mpck4"] - one["interval"], one["mpck4"] + one["interval"]) == (pytest.approx(low), pytest.approx(high))
    assert (five["done"], five["mpck4"], five["interval"]) == (0, None, None)
    assert len(promotion.left()) == 4  # 5 shots are missing


def test_while_jobs_are_missing_there_is_a_mean_but_no_interval(promotion):
    for split, seed in ((1, 42), (1, 43), (2, 42)):
        score(promotion, split, seed, 1, 0.5)
    (row, _) = summary(promotion)
    assert (row["done"], row["jobs"], row["mpck4"], row["interval"]) == (3, 4, 0.5, None)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(promotion_table({**tabulated(promotion), "rows": [row]}))
    assert console.export_text().splitlines()[-1].split() == ["1", "0.500", "0.500", "0.500", "–", "0.315", "3/4"]


def test_a_narrower_table_leaves_the_wider_one_and_a_repeated_one_takes_its_place(promotion):
    narrow = dataclasses.replace(promotion, splits=(1,), shots=(1,), seeds=1)
    tables: list[dict] = []
    for each in (promotion, narrow, dataclasses.replace(promotion, episodes=None), promotion):
        tables = with_table(tables, tabulated(each))
    assert [(table["splits"], table["protocol"]) for table in tables] == [
        ([1], "3 episodes of 15 queries a category"),
        ([1, 2], "200 episodes of 15 queries a category"),
        ([1, 2], "3 episodes of 15 queries a category"),
    ]
    assert read_tables(promotion.folder) == []
    (promotion.folder / TABLES).write_text(json.dumps({"tables": tables}))
    assert read_tables(promotion.folder) == json.loads(json.dumps(tables))


def test_one_seed_has_no_interval():
    assert interval([0.5]) is None
    assert interval([0.5, 0.5]) == 0


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"tables": 3}'])
def test_tables_that_are_damaged_are_said(tmp_path, text):
    (tmp_path / TABLES).write_text(text)
    with pytest.raises(UserError, match=r"promotion\.json holds no tables of a promotion"):
        read_tables(tmp_path)
