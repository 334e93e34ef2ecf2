from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from capetune.errors import UserError
from capetune.runs.ledger import LEDGER, Ledger, read_ledger


def noted(ledger: Ledger, epoch: int, step: int, *batches: list[int]) -> None:
    list(ledger.tap((SimpleNamespace(ids=torch.tensor(ids)), ()) for ids in batches))
    ledger.add(epoch, step)


def test_a_step_is_its_batches_of_every_rank_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, gather=lambda array: [array, np.array([2**60 + 1])])
    ledger.begin(1, 0)
    noted(ledger, 1, 1, [3, 1], [2])
    noted(ledger, 1, 2, [5])
    assert list(read_ledger(tmp_path)) == [(1, 1, [[3, 1, 2], [2**60 + 1]]), (1, 2, [[5], [2**60 + 1]])]


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none", rank=1)
    ledger.begin(1, 0)
    noted(ledger, 1, 1, [3])
    assert not (tmp_path / "none").exists()


def test_what_is_trained_again_is_forgotten_and_so_is_half_a_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin(1, 0)
    for epoch, step in [(1, 1), (1, 2), (2, 1), (2, 2)]:
        noted(ledger, epoch, step, [10 * epoch + step])
    with (tmp_path / LEDGER).open("a") as stream:
        stream.write('{"epoch": 2, "st')
    Ledger(tmp_path).begin(2, 1)
    noted(ledger, 2, 2, [99])
    assert list(read_ledger(tmp_path)) == [(1, 1, [[11]]), (1, 2, [[12]]), (2, 1, [[21]]), (2, 2, [[99]])]


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"epoch": 1, "step": 1, "ids": 3}', "x"])
def test_a_line_that_is_no_step_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / LEDGER).write_text(f'{{"epoch": 1, "step": 1, "ids": [[1]]}}\n{line}\n')
    with pytest.raises(UserError, match=r"ledger.jsonl, line 2 is no step of a training; remove the file"):
        Ledger(tmp_path).begin(3, 1)


def test_there_may_be_none(tmp_path: Path) -> None:
    assert list(read_ledger(tmp_path)) == []
