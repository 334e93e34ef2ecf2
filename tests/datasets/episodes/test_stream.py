import os
import shutil
from contextlib import closing

import numpy as np
import pytest
import torch

from capetune.config import DataConfig
from capetune.datasets.episodes import stream
from capetune.datasets.episodes.queries import encode_queries
from capetune.datasets.episodes.steps import steps_per_epoch
from capetune.datasets.episodes.stream import train_batches, train_loader
from capetune.datasets.packs.crop import apply, source_to_unit
from capetune.datasets.packs.reader import Pack, PackDamaged, open_pack
from capetune.errors import UserError

CONFIG = DataConfig(size=64, rotation=15, scale=0.15)


@pytest.fixture(scope="module")
def pack(tiny_pack):
    return open_pack(tiny_pack)


def batches(pack, epoch=0, seed=1, steps=3, batch_size=8, config=CONFIG, **place):
    return list(train_batches(pack, config, batch_size, seed, epoch, steps=steps, **place))


def ids(found):
    return [id for batch in found for id in batch.ids.tolist()]


def same(a, b):
    return all(torch.equal(*pair) for pair in zip(a.tensors(), b.tensors(), strict=True))


def test_an_epoch_repeats_exactly_and_no_two_are_alike(pack):
    first, again = batches(pack), batches(pack)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert ids(batches(pack, epoch=1)) != ids(first)
    assert ids(batches(pack, seed=2)) != ids(first)


def test_an_epoch_repeats_with_loader_processes(pack):
    config = CONFIG.model_copy(update={"workers": 2})
    first, again = batches(pack, config=config, steps=5), batches(pack, config=config, steps=5)
    assert len(first) == 5
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert len(set(ids(first))) == 40


@pytest.mark.parametrize(("workers", "first"), [(0, 7), (0, 30), (2, 3), (2, 8)])  # an epoch has 25 batches
def test_from_any_batch_on_an_epoch_is_the_same(pack, workers, first):
    config = CONFIG.model_copy(update={"workers": workers})
    with closing(train_loader(pack, config, 8, seed=1)) as loader:
        whole = list(loader.epoch(1, first + 4))
    with closing(train_loader(pack, config, 8, seed=1)) as loader:
        rest = list(loader.epoch(1, first + 4, first))
    assert len(rest) == 4
    assert all(same(a, b) for a, b in zip(whole[first:], rest, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_from_any_batch_on_it_is_the_same_where_samples_are_left_out(tiny_pack, tmp_path, workers):
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    spoilt(pack, tmp_path / "copy", 8)
    config = CONFIG.model_copy(update={"workers": workers, "max_corrupt": 0.1})
    with closing(train_loader(pack, config, 8, seed=1)) as loader:
        whole = ids(loader.epoch(1, 30))
        left_out = loader.left_out()
    with closing(train_loader(pack, config, 8, seed=1)) as loader:
        loader.leave_out(left_out)
        assert loader.left_out().tolist() == left_out.tolist()
        assert ids(loader.epoch(1, 30, 21)) == whole[21 * 8 :]


def test_loading_leaves_the_global_generator_alone(pack):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches(pack, steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_train_instances_of_the_split(pack):
    for split in (1, 4):
        train = {i.id for group in pack.part(split, "train").instances.values() for i in group}
        found = ids(batches(pack, config=CONFIG.model_copy(update={"split": split}), steps=25))
        assert set(found) == train  # 200 samples: one pass


def test_one_pass_sees_each_instance_once_then_begins_anew(pack):
    found = ids(batches(pack, steps=50))
    assert len(set(found[:200])) == 200
    assert len(set(found[200:])) == 200
    assert found[:200] != found[200:]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_rank_gets_equal_steps_and_shards_of_its_own(pack, workers):
    config = CONFIG.model_copy(update={"workers": workers})
    found = [batches(pack, config=config, steps=4, batch_size=4, rank=rank, world=3) for rank in range(3)]
    assert [len(f) for f in found] == [4, 4, 4]
    shards = [{pack.row(id).shard for id in ids(f)} for f in found]
    assert not shards[0] & shards[1]
    assert not shards[0] & shards[2]
    assert not shards[1] & shards[2]


def test_ranks_exchange_shards_from_epoch_to_epoch(pack):
    seen = set()
    for epoch in range(6):
        seen |= {pack.row(id).shard for id in ids(batches(pack, epoch=epoch, batch_size=16, steps=2, rank=0, world=4))}
    assert len(seen) > 4


def test_any_number_of_steps_can_be_had_from_a_small_share(pack):
    assert len(batches(pack, steps=40, batch_size=8, rank=7, world=8)) == 40


def test_order_is_shuffled_within_the_shards(pack):
    found = ids(batches(pack, steps=25))
    stored = {id: pack.row(id).offset for id in found}
    assert found != sorted(found, key=lambda id: (pack.row(id).shard, stored[id]))
    assert len({id // 10**14 for id in found[:16]}) >= 6


def test_fields_fit_each_other(pack):
    (batch,) = batches(pack, steps=1, batch_size=16)
    by_id = {i.id: i for i in pack.instances}
    assert batch.images.shape == (16, 3, 64, 64)
    for row, id in enumerate(batch.ids.tolist()):
        query = by_id[id]
        k = len(query.xy)
        assert batch.joints[row].sum() == k
        assert batch.side[row] == query.side
        seen = batch.visible[row, :k].numpy()
        assert not (seen & ~query.visible).any()
        back = apply(batch.to_source[row].numpy(), batch.target[row, :k].numpy())
        np.testing.assert_allclose(back[seen], query.xy[seen], atol=1e-3)
        edges = pack.categories[query.category_id].graph.adjacency()
        np.testing.assert_array_equal(batch.adjacency[row, :k, :k], edges)
    assert batch.template_known.any()


def test_augmentation_differs_from_epoch_to_epoch(pack):
    angles = {}
    for epoch in range(2):
        for batch in batches(pack, epoch=epoch, steps=25):
            for id, affine in zip(batch.ids.tolist(), batch.to_source.numpy(), strict=True):
                angles.setdefault(id, set()).add(round(float(affine[0, 1]), 9))
    assert all(len(drawn) == 2 for drawn in angles.values())


def test_mirrored_are_those_whose_names_tell_left_from_right(pack):
    config = CONFIG.model_copy(update={"flip": 0.5})
    mirrored, plain = set(), set()
    for batch in batches(pack, steps=25, config=config):
        for id, affine in zip(batch.ids.tolist(), batch.to_source.numpy(), strict=True):
            (mirrored if np.linalg.det(affine[:, :2]) < 0 else plain).add(id // 10**14)
    tell = {id for id in mirrored | plain if pack.categories[id].graph.names[0] == "left 0"}
    assert mirrored == tell
    assert plain == {i.category_id for group in pack.part(1, "train").instances.values() for i in group}


def test_unselected_pixels_are_not_decoded(pack, monkeypatch):
    decoded = []
    real = Pack.decode
    monkeypatch.setattr(
        Pack, "decode", lambda self, row, *rest: decoded.append(row.instance.id) or real(self, row, *rest)
    )
    found = ids(batches(pack, steps=25))
    assert decoded[:200] == found
    assert len(decoded) <= 208


def test_fewer_shards_than_readers_is_said_before_anything_starts(pack):
    with pytest.raises(UserError, match="8 shards can't feed 9 readers"):
        train_batches(pack, CONFIG, 4, 0, 0, world=9, steps=1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_jpg_is_named_in_one_line(tiny_pack, tmp_path, workers):
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    for row in pack.rows:
        if row.shard == 5:
            with (tmp_path / "copy/shard-00005.tar").open("r+b") as file:
                file.seek(row.offset)
                file.write(b"\0" * row.length)
    with pytest.raises(UserError, match=r"shard-00005.tar is damaged at instance \d+: make the pack again") as error:
        batches(pack, steps=60, config=CONFIG.model_copy(update={"workers": workers}))
    assert "\n" not in str(error.value)


def test_a_shard_that_vanishes_is_named(tiny_pack, tmp_path):
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    (tmp_path / "copy/shard-00002.tar").unlink()
    with pytest.raises(UserError, match=r"shard-00002.tar is missing: copy the pack again or make it anew"):
        batches(pack, steps=60)


def test_a_shard_of_rubbish_is_named(tiny_pack, tmp_path):
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    (tmp_path / "copy/shard-00002.tar").write_bytes(b"x" * pack.manifest.shards[2].bytes)
    with pytest.raises(UserError, match=r"shard-00002.tar (can't be read|is damaged)"):
        batches(pack, steps=60)


def test_steps_cover_the_instances_once():
    assert steps_per_epoch(200, 8, 1) == 25
    assert steps_per_epoch(201, 8, 1) == 26
    assert steps_per_epoch(200, 8, 3) == 9
    assert steps_per_epoch(3, 8, 4) == 1


def test_the_shuffle_buffer_loses_and_repeats_nothing():
    for count in (0, 3, stream.SHUFFLE, 1000):
        mixed = list(stream.shuffle(np.random.default_rng(0), range(count)))
        assert sorted(mixed) == list(range(count))


def test_a_negative_seed_is_a_seed_too(pack):
    assert ids(batches(pack, seed=-1)) != ids(batches(pack, seed=1))


def test_real_images_stream(real_images, tmp_path):
    from capetune.datasets.packs.writer import pack as write_pack

    write_pack(real_images / "annotations", real_images / "images", tmp_path / "out", size=128)
    found = batches(open_pack(tmp_path / "out"), steps=10, config=DataConfig(size=128, split=3))
    assert {batch.images.shape for batch in found} == {(8, 3, 128, 128)}
    assert all(batch.visible.any(dim=1).sum() > 4 for batch in found)


@pytest.mark.parametrize("how", ["missing", "cut"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_is_spoilt_in_mid_training_is_left_out(tiny_pack, tmp_path, how, workers):
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    train = {i.id for group in pack.part(1, "train").instances.values() for i in group}
    rows = [row for row in pack.in_shard(2) if row.instance.id in train]
    file = tmp_path / "copy/shard-00002.tar"
    if how == "missing":
        file.unlink()
    else:
        rows = rows[9:]
        os.truncate(file, rows[0].offset + 10)
    gone = {row.instance.id for row in rows}
    config = CONFIG.model_copy(update={"workers": workers, "max_corrupt": 0.2})
    with closing(train_loader(pack, config, 8, seed=1)) as loader:
        seen = ids(loader.epoch(0, 60))
        assert set(loader.left_out().tolist()) == gone
    assert len(seen) == 480
    assert set(seen) == train - gone
    few = config.model_copy(update={"max_corrupt": 0.02})
    with pytest.raises(PackDamaged, match=r"shard-00002.tar .*\(5 of 200 train samples are"):
        batches(pack, steps=60, config=few)


def test_a_spoilt_shard_changes_nothing_of_what_the_others_give(pack, tiny_pack, tmp_path):
    spoilt_pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    (tmp_path / "copy/shard-00002.tar").unlink()
    there = {row.instance.id for row in pack.rows if row.shard != 2}
    whole = [id for id in ids(batches(pack, steps=25)) if id in there]
    left = ids(batches(spoilt_pack, steps=25, config=CONFIG.model_copy(update={"max_corrupt": 0.2})))
    assert left[: len(whole)] == whole


def spoilt(pack, path, count):
    """Ids of train instances whose jpgs are made zeros."""
    train = {i.id for group in pack.part(1, "train").instances.values() for i in group}
    rows = [row for row in pack.rows if row.instance.id in train][::5][:count]
    for row in rows:
        with (path / pack.manifest.shards[row.shard].name).open("r+b") as file:
            file.seek(row.offset)
            file.write(b"\0" * row.length)
    return [row.instance.id for row in rows]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_few_spoilt_samples_are_left_out_and_known_and_the_others_stay(tiny_pack, tmp_path, workers):
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    bad = spoilt(pack, tmp_path / "copy", 4)
    config = CONFIG.model_copy(update={"workers": workers, "max_corrupt": 0.02})  # of 200: 4
    loader = train_loader(pack, config, 8, seed=1)
    assert loader.left_out().tolist() == []
    with closing(loader):
        seen = ids(loader.epoch(0, 60))
        assert loader.left_out().tolist() == sorted(bad)
    assert len(seen) == 480, "each batch is full"
    train = {i.id for group in pack.part(1, "train").instances.values() for i in group}
    assert set(seen) == train - set(bad)


@pytest.mark.parametrize("workers", [0, 2])
def test_one_spoilt_sample_too_many_ends_it(tiny_pack, tmp_path, workers):
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    spoilt(pack, tmp_path / "copy", 5)
    config = CONFIG.model_copy(update={"workers": workers, "max_corrupt": 0.02})
    with pytest.raises(PackDamaged, match=r"\(5 of 200 train samples are, and data.max_corrupt lets 4 be left out\)"):
        batches(pack, steps=60, config=config)


def test_supports_images_are_of_others_and_each_keypoint_is_where_it_says(pack):
    """Not turned, a support's crop is the official one; the query is never its own support."""
    config = DataConfig(size=64, rotation=0, scale=0, shots=(1, 3))
    with closing(train_loader(pack, config, 6, 1, looks=True)) as loader:
        [batch] = loader.epoch(0, 1)
    part = pack.part(1, "train")
    assert batch.support_images.shape == (6, 3, 3, 64, 64)
    for row, id in enumerate(batch.ids.tolist()):
        group = part.instances[pack.row(id).instance.category_id]
        images, _ = encode_queries(pack, group, 64)
        k = int(batch.joints[row].sum())
        for image, xy, visible in zip(
            batch.support_images[row], batch.support_xy[row], batch.support_visible[row], strict=True
        ):
            [found] = [i for i, each in enumerate(images) if torch.equal(each, image)] or [None]
            if found is None:
                assert not image.any()
                assert not visible.any()
                continue
            assert group[found].id != id
            wanted = apply(source_to_unit(group[found].box), group[found].xy)
            assert visible[:k].tolist() == (group[found].visible & ((wanted >= 0) & (wanted <= 1)).all(axis=1)).tolist()
            np.testing.assert_allclose(xy[:k][visible[:k]], wanted[visible[:k].numpy()], atol=1e-5)


def test_looking_changes_nothing_of_the_queries_order_or_templates(pack):
    with closing(train_loader(pack, CONFIG, 6, 1, looks=True)) as loader:
        [seen] = loader.epoch(0, 1)
    with closing(train_loader(pack, CONFIG, 6, 1)) as loader:
        [plain] = loader.epoch(0, 1)
    assert torch.equal(seen.ids, plain.ids)
    assert plain.support_images is None


def test_a_support_that_cant_be_read_is_left_out_and_known(tiny_pack, tmp_path):
    copy = shutil.copytree(tiny_pack, tmp_path / "pack")
    pack = open_pack(copy)
    spoilt = next(iter(pack.part(1, "train").instances.values()))[0]
    row = pack.row(spoilt.id)
    with (copy / pack.manifest.shards[row.shard].name).open("r+b") as file:
        file.seek(row.offset)
        file.write(bytes(row.length))
    config = CONFIG.model_copy(update={"max_corrupt": 0.1})
    with closing(train_loader(pack, config, 8, 1, looks=True)) as loader:
        batches = list(loader.epoch(0, 25))
        assert loader.left_out().tolist() == [spoilt.id]
    assert all(spoilt.id not in batch.ids.tolist() for batch in batches)
