from __future__ import annotations

import pytest

from capetune.runs.results import read_results


class Meta:
    def __init__(self, score):
        self.score = score


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_results_that_are_damaged_count_as_none(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    assert read_results(tmp_path) == {}
