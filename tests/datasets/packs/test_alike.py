import numpy as np
import pytest

from capetune.datasets.packs.alike import find_twins
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack


def draw(seed, noise=0.0):
    """A picture of grey patches; noise: standard deviation of what is added to each pixel."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.uniform(40, 210, (8, 12)), np.ones((8, 8)))
    return np.clip(patches + np.random.default_rng(99).normal(0, noise, patches.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def twins(gadgets):
    """twins(pictures, …) packs gadgets of a picture each, and gives their near-duplicates. tested: of which pictures
    the annotations are in the test part; the others are to train on."""

    def find(pictures, tested=()):
        gadgets.images = [
            {"id": n, "file_name": f"gadget/{n}.png", "width": 96, "height": 64} for n in range(len(pictures))
        ]
        everything = [gadgets._annotation(n) for n in range(len(pictures))]
        for n, picture in enumerate(pictures):
            gadgets.draw(f"gadget/{n}.png", picture)
        for part, mine in (("test", tested), ("train", set(range(len(pictures))) - set(tested))):
            gadgets.annotations = [annotation for annotation in everything if annotation["image_id"] in mine]
            if gadgets.annotations:
                gadgets.write(f"mp100_split1_{part}.json")
        pack(gadgets.root / "annotations", gadgets.root / "images", gadgets.root / "out")
        return find_twins(open_pack(gadgets.root / "out"))[101]

    return find


def test_the_same_scene_again_is_found_though_brighter_and_noisy_and_others_are_not(twins):
    brighter = (draw(1).astype(int) * 3 // 4 + 60).astype(np.uint8)
    found = twins([draw(1), draw(2), draw(1, noise=8), draw(3), brighter])
    assert set(found.pairs) == {(10, 12), (10, 14), (12, 14)}
    assert found.pairs[0] == (10, 12), "the most alike first"
    assert found.episode == {10, 12, 14}
    assert found.leaked == frozenset()


def test_what_is_held_out_and_has_its_twin_in_training_is_leaked(twins):
    found = twins([draw(1), draw(2), draw(1, noise=8), draw(2, noise=8), draw(2, noise=9)], tested={2, 3, 4})
    assert found.leaked == {12, 13, 14}
    assert found.episode == {13, 14}


def test_crops_of_one_colour_are_alike_to_nothing(twins):
    black = np.zeros((64, 96), np.uint8)
    assert twins([black, black, draw(1)]).pairs == ()


def test_two_instances_on_one_picture_are_no_near_duplicates(gadgets):
    gadgets.annotations.append({**gadgets.annotations[0], "id": 99})
    gadgets.draw("gadget/2.png", draw(2))
    gadgets.draw("gadget/3.png", draw(3))
    gadgets.write()
    packed = gadgets.pack()
    assert find_twins(packed)[101].pairs == ()


def test_many_are_compared_block_by_block(twins, monkeypatch):
    monkeypatch.setattr("capetune.datasets.packs.alike.BLOCK", 2)
    found = twins([draw(n % 3, noise=n // 3) for n in range(7)])
    assert set(found.pairs) == {(10, 13), (10, 16), (13, 16), (11, 14), (12, 15)}


def test_the_pack_of_pictures_that_are_all_unlike_has_none(tiny_pack):
    found = find_twins(open_pack(tiny_pack))
    assert len(found) == 14
    assert all(group.leaked == frozenset() for group in found.values())


def test_what_is_read_is_told(tiny_pack):
    told = []
    find_twins(open_pack(tiny_pack), lambda done, total: told.append((done, total)))
    assert told == [(n, 280) for n in range(1, 281)]
