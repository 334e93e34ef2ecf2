"""The official crop: where a box lies in the model's input, and the pixels there.

One convention, that of cv2 and of the official loader: a pixel's index is its centre, so an image of width W covers
x from -0.5 to W - 0.5. Source pixels (annotations), stored pixels (the pack) and input pixels (the model) all obey it.
Unit coordinates are u = (i + 0.5) / size: 0 and 1 are the outer edges of the crop, 0.5 its centre, and
`grid_sample(align_corners=False)` reads pixel i at its u. The unit square doesn't depend on the input's size.

An affine is float64 (2, 3): new = A @ (x, y, 1).
"""

from __future__ import annotations

import cv2
import numpy as np

from capetune.pose import Crop

PADDING = 1.25  # the official share of the longer box side that the crop shows

# Loader processes are the parallelism here; cv2's own threads would oversubscribe the cores, and a process forked
# while they run can hang.
cv2.setNumThreads(0)


def crop_square(box: np.ndarray) -> tuple[float, float, float]:
    """Centre x, centre y and side of the un-augmented crop, source pixels: the longer box side × 1.25.

    box: (4,) xywh in source pixels, clipped.
    """
    x, y, width, height = (float(v) for v in box)
    return x + width / 2, y + height / 2, PADDING * max(width, height)


def source_to_unit(box: np.ndarray, rotation: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Affine from source pixels to [0, 1] of the crop around `box`.

    rotation: degrees by which the content turns clockwise on the screen, about the box's centre. scale: the crop's
    side is multiplied by it, so that above 1 the object looks smaller.
    """
    x, y, side = crop_square(box)
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / (side * scale)
    return np.column_stack([turn, 0.5 - turn @ (x, y)])


def unit_to_source(box: np.ndarray, rotation: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Affine from [0, 1] of the crop to source pixels, what `Batch.to_source` holds: inverse of `source_to_unit`."""
    return invert(source_to_unit(box, rotation, scale))


def crop_affine(box: np.ndarray, size: int, rotation: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Affine from source pixels to pixels of the input of side `size`; rotation and scale as in `source_to_unit`."""
    return unit_to_pixel(source_to_unit(box, rotation, scale), size)


def unit_to_pixel(affine: np.ndarray, size: int) -> np.ndarray:
    """Let an affine that ends in unit coordinates end in input pixels: i = u · size - 0.5."""
    return affine * size - np.array([[0, 0, 0.5], [0, 0, 0.5]])


def invert(affine: np.ndarray) -> np.ndarray:
    """The affine that undoes this one."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.column_stack([inverse, -inverse @ affine[:, 2]])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The affine that does `inner` first, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def apply(affine: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """xy: float (..., 2). Returns float64 (..., 2)."""
    return np.asarray(xy, dtype=np.float64) @ affine[:, :2].T + affine[:, 2]


def enlarge(x_factor: float, y_factor: float) -> np.ndarray:
    """Affine from the pixels of a reduced image to those of the image it was reduced from (factor = old / new)."""
    return np.array([[x_factor, 0, (x_factor - 1) / 2], [0, y_factor, (y_factor - 1) / 2]], dtype=np.float64)


def step(affine: np.ndarray) -> float:
    """How many units of the outcome one unit of the origin makes, as a geometric mean over the axes."""
    return float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))


def warp(image: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    """Draw `image` into a square of side `size`, bilinearly; black where the image doesn't reach.

    image: uint8 (H, W, 3). affine: from its pixels to those of the outcome. Where it shrinks by 2 or more, the image
    is first reduced by area, or bilinear sampling would skip pixels. Returns uint8 (size, size, 3).
    """
    times = int(1 / step(affine))
    if times >= 2:
        height, width = image.shape[:2]
        reduced = cv2.resize(image, (max(1, width // times), max(1, height // times)), interpolation=cv2.INTER_AREA)
        affine = compose(affine, enlarge(width / reduced.shape[1], height / reduced.shape[0]))
        image = reduced
    # OpenCV 5 warps four channels in half the time of three, which more than pays for the two conversions.
    padded = cv2.warpAffine(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), affine, (size, size), flags=cv2.INTER_LINEAR)
    return cv2.cvtColor(padded, cv2.COLOR_RGBA2RGB)


def warp_crop(crop: Crop, to_unit: np.ndarray, size: int) -> np.ndarray:
    """The input picture, uint8 (size, size, 3) RGB. to_unit: from source pixels to [0, 1] of the crop."""
    return warp(crop.image, compose(unit_to_pixel(to_unit, size), crop.to_source), size)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """image: uint8 (H, W, 3) RGB."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


# With IMREAD_COLOR_RGB the "grayscale" of these names only says by how much to reduce.
REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
}


def decode_jpeg(data: bytes, reduction: int = 1) -> np.ndarray | None:
    """uint8 (H, W, 3) RGB, or None where the data is no whole image.

    reduction: 1, 2, 4 or 8: decode at that fraction of the size, which costs a fraction of the time; pixels of the
    outcome go to whole pixels by `enlarge(reduction, reduction)`.
    """
    if not data.endswith(b"\xff\xd9"):  # cv2 fills what a cut file lacks with grey and only mutters
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED[reduction])
