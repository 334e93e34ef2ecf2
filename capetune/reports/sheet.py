"""A contact sheet of a pack: crops with their keypoints and skeletons, to see that they belong together."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from capetune.datasets.packs.crop import apply, source_to_unit, unit_to_pixel, warp_crop
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.pose import Category, Instance
from capetune.prediction.drawing import draw_pose

TILE = 256
CAPTION = 22
GAP = 4
PAPER = 250
FONT = cv2.FONT_HERSHEY_SIMPLEX


def find_category(pack: Pack, wanted: str) -> Category:
    """A category by id, name or folder. Raises UserError, with the nearest ones, where there is none or two."""
    found = [c for c in pack.categories.values() if wanted in (str(c.id), c.name, c.folder)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = " and ".join(f"{c.id} ({c.folder})" for c in found)
        raise UserError(f"category {wanted!r} is {ids}: give the id")
    by_word = {word.lower(): c for c in pack.categories.values() for word in (str(c.id), c.folder, c.name)}
    near = difflib.get_close_matches(wanted.lower(), by_word, 1, 0.0)
    category = by_word[near[0]]
    raise UserError(f"{pack.address} has no category {wanted!r}; the nearest is {category.name!r} ({category.id})")


def groups(
    pack: Pack, category: Category | None = None, split: int | None = None, part: str = "train"
) -> dict[int, list[Instance]]:
    """Packed instances by category, in file order.

    category: only of this one. split: only of its part `part`. Raises UserError where there are none.
    """
    if split is None:
        found = pack.by_category
    else:
        found = {id: list(group) for id, group in pack.part(split, part).instances.items()}
    if category is not None:
        found = {category.id: found.get(category.id, [])}
    if not any(found.values()):
        what = f"category {category.name!r} ({category.id})" if category is not None else "instance"
        where = f" in split {split} {part}" if split is not None else ""
        raise UserError(f"{pack.address} holds no image of {what}{where}; `manifest.json` says what was left out")
    return found


def choose(
    pack: Pack, count: int, category: Category | None = None, split: int | None = None, part: str = "train"
) -> list[Instance]:
    """Up to `count` packed instances, taken from the categories of `groups` in turn, in file order."""
    found = groups(pack, category, split, part)
    longest = max(len(group) for group in found.values())
    chosen = [group[turn] for turn in range(longest) for group in found.values() if turn < len(group)]
    return sorted(chosen[:count], key=lambda instance: instance.category_id)


def draw_sheet(pack: Pack, instances: Sequence[Instance], notes: Sequence[str] = ()) -> np.ndarray:
    """Tiles in rows, each the official crop with its caption. Returns uint8 (H, W, 3) RGB.

    notes: one an instance, which stands in its caption with the instance's id.
    """
    columns = min(len(instances), math.ceil(math.sqrt(1.5 * len(instances))))
    rows = math.ceil(len(instances) / columns)
    height, width = TILE + CAPTION + GAP, TILE + GAP
    sheet = np.full((rows * height + GAP, columns * width + GAP, 3), PAPER, dtype=np.uint8)
    for i, instance in enumerate(instances):
        top, left = (i // columns) * height + GAP, (i % columns) * width + GAP
        note = f"{instance.id}: {notes[i].replace('×', 'x')}" if notes else ""  # the font has ASCII only
        sheet[top : top + TILE + CAPTION, left : left + TILE] = draw_tile(pack, instance, note)
    return sheet


def draw_tile(pack: Pack, instance: Instance, note: str = "") -> np.ndarray:
    """One crop, visible keypoints and the edges between them, and a caption: category and id, or `note`.

    Returns uint8 (TILE + CAPTION, TILE, 3) RGB.
    """
    category = pack.categories[instance.category_id]
    to_unit = source_to_unit(instance.box)
    image = warp_crop(pack.crop(instance.id, TILE), to_unit, TILE)
    xy = apply(unit_to_pixel(to_unit, TILE), instance.xy)
    draw_pose(image, xy, instance.visible, category.graph)
    caption = np.full((CAPTION, TILE, 3), PAPER, dtype=np.uint8)
    text = f"{category.name} {note}" if note else f"{category.name} ({category.id})"
    scale = 0.45
    while scale > 0.1 and cv2.getTextSize(text, FONT, scale, 1)[0][0] > TILE - 4:
        scale *= 0.95
    cv2.putText(caption, text, (2, 15), FONT, scale, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([image, caption])


def save(image: np.ndarray, path: Path) -> None:
    """image: uint8 (H, W, 3) RGB. Raises UserError where it can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(path.suffix or ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        assert done
        path.write_bytes(data.tobytes())
    except cv2.error:
        raise UserError(f"can't write a picture called {path.name}: call it something.png") from None
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror or error}") from None
