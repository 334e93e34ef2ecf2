"""What an evaluation says of a model's training, without a model."""

from __future__ import annotations

import pytest

from capetune.config import Config
from capetune.datasets.packs.reader import open_pack
from capetune.events import Doubted, ignore
from capetune.runs.checkpoints import CheckpointMeta
from capetune.service.subjects import _seen


@pytest.fixture
def pack(tiny_pack):
    return open_pack(tiny_pack)


def trained(pack, part_of, **data):
    """A checkpoint's meta: of that split of the pack."""
    told = {"pack": pack.place.resolved, "data_hash": pack.fingerprint, "data": "real", "split": part_of}
    return CheckpointMeta(Config(), 1, {}, {**told, **data})


def test_what_the_weights_were_trained_on_before_counts_as_seen(pack):
    """Trained on the train part, scored on the test part, whose pictures another training had among its own."""
    test, alone = pack.part(1, "test"), trained(pack, 1)
    assert not _seen(alone, pack, test, ignore).words
    before = trained(pack, 2).data
    found = _seen(trained(pack, 1, before=[before]), pack, test, ignore)
    both = {c.name for c in test.categories} & {c.name for c in pack.part(2, "train").categories}
    assert set(found.categories) == both
    assert both


def test_where_the_data_of_an_earlier_training_is_gone_seen_is_not_told_from_unseen(pack, tmp_path):
    heard = []
    gone = {**trained(pack, 1).data, "pack": str(tmp_path / "gone"), "data_hash": "other"}
    assert not _seen(trained(pack, 1, before=[gone]), pack, pack.part(1, "test"), heard.append).known
    [doubt] = heard
    assert isinstance(doubt, Doubted)
    assert "gone" in doubt.why
