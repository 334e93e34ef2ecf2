"""From a query, its stored pixels and a template to what the model sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from capetune.datasets.episodes.augment import Augmentation
from capetune.datasets.episodes.flips import mirrored
from capetune.datasets.episodes.templates import place
from capetune.datasets.packs.crop import apply, compose, invert, source_to_unit, warp_crop
from capetune.pose import Batch, Category, Crop, Instance

OFFICIAL = Augmentation()  # none
MIRROR = np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Item:
    """One sample of a `Batch`, unpadded: the same fields without the leading B, as numpy arrays (image: (S, S, 3)).

    supports: where the model looks at their images, an item for each (target and visible say where), however turned.
    """

    image: np.ndarray
    template: np.ndarray
    template_known: np.ndarray
    adjacency: np.ndarray
    target: np.ndarray
    visible: np.ndarray
    to_source: np.ndarray
    side: float
    id: int
    supports: tuple[Item, ...] = ()


def make_item(
    category: Category,
    query: Instance,
    crop: Crop,
    template: np.ndarray,
    known: np.ndarray,
    size: int,
    augmentation: Augmentation = OFFICIAL,
) -> Item:
    """Warp the query's pixels to the input and put its keypoints and the template into [0, 1] of the crop.

    crop: the query's stored pixels. template: (K, 2) normalised by boxes; known: (K,), as `mean_template` gives them.
    size: side of the input, pixels. The target turns with the image, and in a mirror its left and right keypoints
    change places; the template doesn't: it knows the query's box alone, and lies where the box lies in the official
    crop. ValueError where a mirror is asked for and the category's names don't tell what it exchanges.
    """
    image = warp_crop(crop, augmented_to_unit(query.box, augmentation), size)
    return place_item(category, query, image, template, known, augmentation)


def place_item(
    category: Category,
    query: Instance,
    image: np.ndarray,
    template: np.ndarray,
    known: np.ndarray,
    augmentation: Augmentation,
) -> Item:
    """`make_item` where the image is drawn already, or isn't needed: then any (S, S, 3), such as (0, 0, 3)."""
    to_unit = augmented_to_unit(query.box, augmentation)
    target = apply(to_unit, query.xy)
    visible = query.visible & ((target >= 0) & (target <= 1)).all(axis=1)
    if augmentation.flip:
        order = mirrored(category.graph)
        if order is None:
            raise ValueError(f"the names of {category.name} don't tell which keypoints a mirror exchanges")
        target, visible = target[list(order)], visible[list(order)]
    return Item(
        image=image,
        template=template_in_crop(template, query.box),
        template_known=known,
        adjacency=category.graph.adjacency(),
        target=np.where(visible[:, None], target, 0.0),
        visible=visible,
        to_source=invert(to_unit),
        side=query.side,
        id=query.id,
    )


def augmented_to_unit(box: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """Affine from source pixels to [0, 1] of the augmented crop."""
    to_unit = source_to_unit(box, augmentation.rotation, augmentation.scale)
    return compose(MIRROR, to_unit) if augmentation.flip else to_unit


def template_in_crop(template: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A normalised pose put into a box, in [0, 1] of the official crop of that box.

    template: (..., K, 2). box: (4,) xywh in source pixels. The box's centre, (0.5, 0.5), stays what it is.
    """
    return apply(source_to_unit(box), place(template, box))


def collate(items: Sequence[Item]) -> Batch:
    """A batch padded to the largest K among the items; padding is 0 and False."""
    count, most = len(items), max(len(item.visible) for item in items)
    points = {name: np.zeros((count, most, 2), dtype=np.float32) for name in ("template", "target")}
    masks = {name: np.zeros((count, most), dtype=bool) for name in ("template_known", "visible", "joints")}
    adjacency = np.zeros((count, most, most), dtype=bool)
    for i, item in enumerate(items):
        k = len(item.visible)
        points["template"][i, :k] = item.template
        points["target"][i, :k] = item.target
        masks["template_known"][i, :k] = item.template_known
        masks["visible"][i, :k] = item.visible
        masks["joints"][i, :k] = True
        adjacency[i, :k, :k] = item.adjacency
    return Batch(
        **_of_supports(items, most),
        images=stack_images([item.image for item in items]),
        **{name: torch.from_numpy(array) for name, array in (points | masks).items()},
        adjacency=torch.from_numpy(adjacency),
        to_source=torch.from_numpy(np.stack([item.to_source for item in items])),
        side=torch.tensor([item.side for item in items], dtype=torch.float64),
        ids=torch.tensor([item.id for item in items], dtype=torch.int64),
    )


def _of_supports(items: Sequence[Item], most: int) -> dict[str, torch.Tensor]:
    """What a `Batch` has of images of supports, padded to the most of an item; nothing where no item has any."""
    n = max(len(item.supports) for item in items)
    if n == 0:
        return {}
    visible, xy = np.zeros((len(items), n, most), dtype=bool), np.zeros((len(items), n, most, 2), dtype=np.float32)
    images = np.zeros((len(items), n, *items[0].supports[0].image.shape), dtype=np.uint8)
    for i, item in enumerate(items):
        for j, support in enumerate(item.supports):
            k = len(support.visible)
            visible[i, j, :k], xy[i, j, :k], images[i, j] = support.visible, support.target, support.image
    return {
        "support_visible": torch.from_numpy(visible),
        "support_looks": torch.zeros(len(items), n, most, 0),
        "support_xy": torch.from_numpy(xy),
        "support_images": torch.from_numpy(images).permute(0, 1, 4, 2, 3),
    }


def stack_images(images: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (S, S, 3) each → uint8 (N, 3, S, S), channels last in memory: as pixels lie in files and backbones want."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
