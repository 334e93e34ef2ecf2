"""What an exported file is compared on, and what passes."""

from __future__ import annotations

import numpy as np
import pytest

from capetune.datasets.packs.reader import open_pack
from capetune.prediction.model import load_best
from capetune.prediction.parity import Parity, _padded, answered, compare, drawn, noise, packed, repeated


@pytest.fixture(scope="module")
def model(untrained):
    return load_best(untrained)


def test_noise_has_the_ends_of_the_range(model):
    one, most = noise(64, 9)
    assert (one.template.graph.size, most.template.graph.size) == (1, 9)
    assert not most.template.known.all()
    images, boxes, template, known, edges, joints = most.given()
    assert (images.shape, images.dtype, boxes.shape) == ((2, 3, 64, 64), np.uint8, (2, 4))
    assert (template.shape, known.shape, edges.shape, joints.shape) == ((2, 9, 2), (2, 9), (2, 9, 9), (2, 9))
    assert (edges == edges.transpose(0, 2, 1)).all()
    assert edges.any()


def test_pictures_are_a_pack_s_or_drawn_and_have_no_more_keypoints_than_are_exported(model, tiny_pack):
    for found in (packed(model, open_pack(tiny_pack), 1, 8), drawn(model, 8, 2)):
        assert found
        for each in found:
            assert each.template.graph.size <= 8
            assert len(each.crops) == len(each.boxes) == 3
            assert each.crops[0].shape == (64, 64, 3)
            assert each.crops[0].std() > 5
    assert packed(model, open_pack(tiny_pack), 1, 3) == drawn(model, 3, 1) == []


def runner(model, asked, shift=0.0):
    """Gives what the model gives, each category alone or all padded into a batch, moved by `shift` pixels."""
    answers = [answered(model, each) for each in asked]
    everything = _padded([each.given() for each in asked])

    def run(given):
        for each, (xy, score) in zip(asked, answers, strict=True):
            if given[0].shape == each.given()[0].shape and np.array_equal(given[2], each.given()[2]):
                return xy + shift, score
        for one, two in zip(given, everything, strict=True):
            np.testing.assert_array_equal(one, two)
        rows, most = sum(len(xy) for xy, _ in answers), max(xy.shape[1] for xy, _ in answers)
        found, sure, begin = np.full((rows, most, 2), np.nan), np.full((rows, most), np.nan), 0
        for xy, score in answers:
            found[begin : begin + len(xy), : xy.shape[1]], sure[begin : begin + len(xy), : xy.shape[1]] = xy, score
            begin += len(xy)
        return found, sure

    return run


def test_the_largest_difference_decides(model):
    asked = noise(64, 5)
    same = compare(model, runner(model, asked), asked, "noise")
    assert (same.pixels, same.score, same.keypoints, same.fits) == (0, 0, 2 * 2 * (1 + 5), True)
    moved = compare(model, runner(model, asked, 0.6), asked, "noise")
    assert moved.pixels == pytest.approx(0.6)
    assert not moved.fits
    assert not compare(model, runner(model, asked, np.nan), asked, "noise").fits
    assert not Parity(0.0, 0.02, 1, "").fits


def test_objects_are_repeated_to_a_batch(model):
    most = repeated(noise(64, 5)[1], 3)
    assert len(most.crops) == 3
    np.testing.assert_array_equal(most.boxes[0], most.boxes[2])
