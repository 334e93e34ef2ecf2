import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capetune.datasets.packs import crop as geometry

lengths = st.floats(4, 4000)
boxes = st.tuples(st.floats(0, 5000), st.floats(0, 5000), lengths, lengths).map(np.array)
turns = st.floats(-180, 180)
scales = st.floats(0.5, 2)
sizes = st.sampled_from([64, 128, 512])


@given(boxes, turns, scales)
def test_source_to_unit_and_back_is_where_it_began(box, turn, scale):
    points = box[:2] + np.array([[0, 0], [0.3, 0.9], [2, -1]]) * box[2:]
    there = geometry.apply(geometry.source_to_unit(box, turn, scale), points)
    back = geometry.apply(geometry.unit_to_source(box, turn, scale), there)
    np.testing.assert_allclose(back, points, atol=1e-7)


@given(boxes, turns, scales, sizes)
def test_input_pixels_and_unit_coordinates_name_the_same_point(box, turn, scale, size):
    pixel = np.array([3.0, size - 2.0])
    source = geometry.apply(geometry.invert(geometry.crop_affine(box, size, turn, scale)), pixel)
    unit = geometry.apply(geometry.source_to_unit(box, turn, scale), source)
    np.testing.assert_allclose(unit, (pixel + 0.5) / size, atol=1e-9)


@given(boxes)
def test_official_crop_is_the_padded_square_around_the_centre(box):
    corners = geometry.apply(geometry.unit_to_source(box), np.array([[0, 0], [1, 1], [0.5, 0.5]]))
    centre, side = box[:2] + box[2:] / 2, 1.25 * max(box[2:])
    np.testing.assert_allclose(corners, [centre - side / 2, centre + side / 2, centre], atol=1e-7)


@given(boxes, turns, scales)
def test_distances_scale_by_the_step(box, turn, scale):
    affine = geometry.source_to_unit(box, turn, scale)
    a, b = geometry.apply(affine, box[:2] + np.array([[0, 0], [3, 4]]))
    assert np.linalg.norm(a - b) == pytest.approx(5 * geometry.step(affine))


def test_compose_does_the_inner_one_first():
    inner, outer = np.array([[2.0, 0, 0], [0, 2, 0]]), np.array([[1.0, 0, 5], [0, 1, 7]])
    assert geometry.apply(geometry.compose(outer, inner), [1, 1]).tolist() == [7, 9]


def test_positive_rotation_turns_the_content_clockwise_on_the_screen():
    box = np.array([0.0, 0, 100, 100])
    above = np.array([50.0, 10.0])
    x, y = geometry.apply(geometry.source_to_unit(box, rotation=90), above)
    assert x > 0.8
    assert y == pytest.approx(0.5)


def test_larger_scale_makes_the_object_smaller():
    box = np.array([0.0, 0, 100, 100])
    assert geometry.step(geometry.source_to_unit(box, scale=2)) < geometry.step(geometry.source_to_unit(box))


def test_warp_without_a_change_is_exact():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    box = np.array([5.9, 5.9, 51.2, 51.2])  # 1.25 × 51.2 = 64, from -0.5 on, where pixel 0 begins
    np.testing.assert_array_equal(geometry.warp(image, geometry.crop_affine(box, 64), 64), image)


def test_warp_puts_a_source_pixel_where_the_affine_says():
    image = np.zeros((200, 300, 3), np.uint8)
    image[120, 70] = 255
    affine = geometry.crop_affine(np.array([40.0, 80, 60, 80]), 400, rotation=30, scale=1.1)
    drawn = geometry.warp(image, affine, 400)[..., 0].astype(float)
    ys, xs = np.mgrid[:400, :400]
    centre = (drawn * xs).sum() / drawn.sum(), (drawn * ys).sum() / drawn.sum()
    np.testing.assert_allclose(centre, geometry.apply(affine, [70, 120]), atol=0.05)


@pytest.mark.parametrize("period", [2, 6])
def test_shrinking_does_not_alias(period):
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::period] = 255
    drawn = geometry.warp(stripes, geometry.crop_affine(np.array([80.0, 80, 640, 640]), 64), 64)
    inside = drawn[8:-8, 8:-8].astype(float)
    assert abs(inside.mean() - 255 / period) < 3
    assert inside.std() < 12


def test_shrinking_keeps_the_place():
    image = np.zeros((900, 700, 3), np.uint8)
    image[430:451, 290:311] = 255  # centre (300, 440)
    affine = geometry.crop_affine(np.array([100.0, 100, 500, 640]), 100)
    drawn = geometry.warp(image, affine, 100)[..., 0].astype(float)
    ys, xs = np.mgrid[:100, :100]
    centre = (drawn * xs).sum() / drawn.sum(), (drawn * ys).sum() / drawn.sum()
    np.testing.assert_allclose(centre, geometry.apply(affine, [300, 440]), atol=0.1)


def test_jpeg_round_trip_keeps_the_order_of_colours():
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = 200  # red
    back = geometry.decode_jpeg(geometry.encode_jpeg(image, 95))
    np.testing.assert_allclose(back.reshape(-1, 3).mean(0), [200, 0, 0], atol=6)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_decoding_lands_where_enlarge_says(reduction):
    image = np.zeros((240, 320, 3), np.uint8)
    image[96:128, 160:192] = 255  # centre (175.5, 111.5)
    small = geometry.decode_jpeg(geometry.encode_jpeg(image, 95), reduction)[..., 0].astype(float)
    assert small.shape == (240 // reduction, 320 // reduction)
    small[small < 40] = 0
    ys, xs = np.mgrid[: small.shape[0], : small.shape[1]]
    centre = np.array([(small * xs).sum(), (small * ys).sum()]) / small.sum()
    whole = geometry.apply(geometry.enlarge(reduction, reduction), centre)
    np.testing.assert_allclose(whole, [175.5, 111.5], atol=0.3)


def test_cut_or_corrupt_jpegs_decode_to_none():
    data = geometry.encode_jpeg(np.full((64, 64, 3), 120, np.uint8), 90)
    assert geometry.decode_jpeg(data) is not None
    assert geometry.decode_jpeg(data[:-20]) is None
    assert geometry.decode_jpeg(b"not a picture\xff\xd9") is None
    assert geometry.decode_jpeg(b"") is None


@pytest.mark.parametrize("size", [64, 100])
def test_warping_four_channels_gives_what_three_give(size):
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8), (5, 5), 0)
    affine = np.array([[0.9, 0.2, 3.5], [-0.2, 0.9, 20.0]])
    plain = cv2.warpAffine(picture, affine, (size, size), flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(geometry.warp(picture, affine, size), plain)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_decoding_to_rgb_at_once_gives_what_converting_gives(reduction):
    data = geometry.encode_jpeg(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8), 90)
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    plain = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), flags[reduction]), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(geometry.decode_jpeg(data, reduction), plain)
