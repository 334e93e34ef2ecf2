import shutil

import numpy as np
import pytest

from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.episodes.templates import mean_template, normalise
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack as write_pack
from capetune.errors import UserError


@pytest.fixture
def few(tiny_root, tmp_path):
    """A function that packs the tiny data set with so many images of the categories named, none of the others."""

    def make(**images):
        root = shutil.copytree(tiny_root, tmp_path / "root")
        for folder in (root / "images").iterdir():
            files = sorted(folder.iterdir(), reverse=True)  # the last ones hold one instance each
            for file in files[images.get(folder.name.removesuffix("_body"), 0) :]:
                file.unlink()
        write_pack(root / "annotations", root / "images", tmp_path / "out")
        return open_pack(tmp_path / "out")

    return make


def test_the_query_is_never_in_its_own_template(tiny_pack):
    """A wild pose would show: with the query's keypoints far away, no template may leave the others' range."""
    pack = open_pack(tiny_pack)
    train, rng = TrainSet(pack, 1), np.random.default_rng(0)
    for query in list(train.instances.values())[::23]:
        query.xy[:] += 1e6
        try:
            fresh = TrainSet(pack, 1)
            for _ in range(30):
                assert np.abs(fresh.template(query, (1, 5, 100), rng)[0]).max() < 3
        finally:
            query.xy[:] -= 1e6


def test_all_the_others_take_part(tiny_pack):
    pack = open_pack(tiny_pack)
    train, rng = TrainSet(pack, 1), np.random.default_rng(0)
    query, *rest = pack.part(1, "train").instances[100]
    drawn = {tuple(train.template(query, (1,), rng)[0].ravel()) for _ in range(400)}
    single = {tuple(mean_template(normalise(i)[None], i.visible[None])[0].ravel()) for i in rest}
    assert drawn == single


def test_all_is_the_categorys_mean_without_the_query(tiny_pack):
    pack = open_pack(tiny_pack)
    query, *rest = pack.part(1, "train").instances[100]
    wanted = mean_template(np.stack([normalise(i) for i in rest]), np.stack([i.visible for i in rest]))
    got = TrainSet(pack, 1).template(query, ("all",), np.random.default_rng(0))
    np.testing.assert_allclose(got[0], wanted[0])
    np.testing.assert_array_equal(got[1], wanted[1])


def test_few_instances_give_what_they_have(few):
    pack = few(tiny100=3)
    train = TrainSet(pack, 1)
    query, *rest = pack.part(1, "train").instances[100]
    template, known = train.template(query, (5,), np.random.default_rng(0))
    expected = mean_template(np.stack([normalise(i) for i in rest]), np.stack([i.visible for i in rest]))
    np.testing.assert_allclose(template, expected[0])
    np.testing.assert_array_equal(known, expected[1])


def test_a_lonely_instance_is_left_out_and_said(few):
    train = TrainSet(few(tiny100=3, tiny99=1), 1)
    assert [c.id for c in train.lonely] == [99]
    assert len(train) == 3
    assert set(train.categories) == {100}


def test_nothing_to_train_on(few):
    with pytest.raises(UserError, match="no category with two train instances in split 1"):
        TrainSet(few(tiny99=1, tiny87=18), 1)
