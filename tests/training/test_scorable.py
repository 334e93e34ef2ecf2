import re

import pytest

from capetune.config import load_preset, parse_setting
from capetune.datasets.mp100.frames import split_by_frames
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack as write_pack
from capetune.errors import UserError
from capetune.evaluation.protocol import official_pairs
from capetune.training.scorable import check_scorable


@pytest.fixture
def pack(tiny_pack):
    """Its categories have 20 instances."""
    return open_pack(tiny_pack)


def config(shots, queries):
    return load_preset("demo").with_overrides({"validation.shots": shots, "validation.queries": queries})


@pytest.mark.parametrize(("shots", "queries"), [(1, 20), (5, 16), (19, 15), (20, 1), (30, 15)])
def test_what_the_line_names_is_the_cure_and_the_most_that_fits(pack, shots, queries):
    asked = config(shots, queries)
    with pytest.raises(UserError, match=f"val has the {shots + queries} instances") as refused:
        check_scorable(pack, asked)
    cured = asked.with_overrides(dict(map(parse_setting, re.findall(r"--set ([^ ,]+)", str(refused.value)))))
    check_scorable(pack, cured)
    settings = cured.validation
    assert settings.shots + settings.queries == 20
    assert official_pairs(pack.part(1, "val"), settings.shots, 1, settings.queries).categories


def test_as_many_as_an_episode_takes_are_enough(pack):
    check_scorable(pack, config(5, 15))


@pytest.mark.parametrize(("part", "use"), [("train", "train on"), ("val", "score by")])
def test_a_split_without_instances_is_refused(pack, monkeypatch, part, use):
    monkeypatch.setattr(Pack, "part", lambda self, split, asked: [] if asked == part else [1])
    with pytest.raises(UserError, match=f"holds no instance of split 1 {part} to {use}"):
        check_scorable(pack, config(1, 5))


def test_of_one_instance_no_episode_can_be_made(tiny_root, tmp_path):
    split_by_frames(tiny_root / "annotations", tmp_path / "split", ["tiny100"], train=0.5, val=0.05)
    write_pack(tmp_path / "split", tiny_root / "images", tmp_path / "pack", size=64)
    with pytest.raises(UserError, match=r"the largest has 1\); pack more images of it, or hold more out"):
        check_scorable(open_pack(tmp_path / "pack"), config(1, 5))
