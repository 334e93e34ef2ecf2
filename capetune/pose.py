"""The types that flow through the program.

Everywhere: masks are True = real, coordinates are (x, y), ids are Python ints of 64 bits, K is never trimmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

PARTS = ("train", "val", "test")
SPLITS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class PoseGraph:
    """names: one per keypoint (K). edges: undirected (i, j), i < j, zero-based, each once, sorted."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """K, the number of keypoints."""
        return len(self.names)

    def adjacency(self) -> np.ndarray:
        """(K, K) bool, symmetric, False on the diagonal."""
        matrix = np.zeros((self.size, self.size), dtype=bool)
        for i, j in self.edges:
            matrix[i, j] = matrix[j, i] = True
        return matrix


@dataclass(frozen=True)
class Category:
    """A kind of object. `id` is the key; `name` may be shared by two categories and may differ from `folder`.

    supercategory: as the annotation file has it, such as animal_face; empty where it has none.
    """

    id: int
    name: str
    folder: str
    graph: PoseGraph
    supercategory: str = ""


@dataclass(frozen=True, eq=False)
class Instance:
    """One annotated object, without its pixels.

    image_size: (width, height) of the source image. box: float64 (4,) xywh in source pixels, clipped to the image
    as the official loader does. xy: float64 (K, 2) source pixels. visible: bool (K), True = annotated with v > 0.
    """

    id: int
    image_id: int
    category_id: int
    file_name: str
    image_size: tuple[int, int]
    box: np.ndarray
    xy: np.ndarray
    visible: np.ndarray

    @property
    def side(self) -> float:
        """Longer box side in source pixels: what PCK divides by."""
        return float(max(self.box[2], self.box[3]))


@dataclass(frozen=True, eq=False)
class Part:
    """The train, val or test part of one split: categories in file order, each with its instances in file order.

    `instances` has a key for each category, also where the list is empty. left_out: usable instances of the annotation
    file that aren't here, since a pack lacks their images. own: its split is people's own, whatever the categories.
    """

    split: int
    part: str
    categories: tuple[Category, ...]
    instances: Mapping[int, tuple[Instance, ...]]
    synthetic: bool = False
    left_out: int = 0
    own: bool = False

    def __len__(self) -> int:
        return sum(len(group) for group in self.instances.values())


@dataclass(frozen=True, eq=False)
class Crop:
    """Stored pixels around one instance. image: uint8 (H, W, 3) RGB.

    to_source: float64 (2, 3), maps stored pixel coordinates to source pixels: source = A @ (x, y, 1).
    """

    image: np.ndarray
    to_source: np.ndarray


@dataclass(frozen=True)
class Batch:
    """What the model sees. B samples padded to the largest K among them; S is the input side in pixels.

    images: uint8 (B, 3, S, S) RGB; the backbone normalises, since only it knows its own mean and deviation.
    template: float32 (B, K, 2), the supports' mean pose placed in the query's box, in [0, 1] of the crop.
    template_known: bool (B, K), True = visible in at least one support (elsewhere the template is the box's centre).
    adjacency: bool (B, K, K). joints: bool (B, K), True = a keypoint of the category, False = padding.
    target: float32 (B, K, 2) in [0, 1] of the crop; 0 where not visible.
    visible: bool (B, K), True = annotated, visible and inside the crop: what losses may look at.
    to_source: float64 (B, 2, 3), maps [0, 1] crop coordinates to source pixels. side: float64 (B,) source pixels.
    ids: int64 (B,), the query instances.

    For models whose `model.support.source` isn't geometry, of n supports or, averaged, of n = 1:
    support_visible: bool (B, n, K), True = the keypoint can be looked at there. support_looks: float32 (B, n, K, C),
    what the maps of `Backbone.features` hold there; C = 0 where that is still to be read, of support_images, uint8
    (B, n, 3, S, S) RGB, at support_xy, float32 (B, n, K, 2) in [0, 1] of each image.
    """

    images: torch.Tensor
    template: torch.Tensor
    template_known: torch.Tensor
    adjacency: torch.Tensor
    joints: torch.Tensor
    target: torch.Tensor
    visible: torch.Tensor
    to_source: torch.Tensor
    side: torch.Tensor
    ids: torch.Tensor
    support_visible: torch.Tensor | None = None
    support_looks: torch.Tensor | None = None
    support_xy: torch.Tensor | None = None
    support_images: torch.Tensor | None = None

    def tensors(self) -> list[torch.Tensor]:
        """All there are, in the order in which they are named above; none is left out before one that is there."""
        return [tensor for f in fields(self) if (tensor := getattr(self, f.name)) is not None]

    def to(self, device: torch.device | str) -> Batch:
        """Not waited for where the batch is in pinned memory."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self.tensors()))

    def pin_memory(self) -> Batch:
        """In memory that a GPU copies from by itself."""
        return Batch(*(tensor.pin_memory() for tensor in self.tensors()))

    def padded(self, samples: int, keypoints: int) -> Batch:
        """As many samples (the last repeated) and keypoints (not real ones) as asked for; no fewer than it has."""
        from torch.nn import functional as F

        wider, found = keypoints - self.joints.shape[1], {}
        for field, tensor in zip(fields(self), self.tensors(), strict=False):
            ends = [end * wider for end in _KEYPOINT_ENDS.get(field.name, ())]
            found[field.name] = filled(F.pad(tensor, ends) if any(ends) else tensor, samples)
        return Batch(**found)

    def first(self, samples: int) -> Batch:
        """So many of its samples."""
        return Batch(*(tensor[:samples] for tensor in self.tensors()))

    def __len__(self) -> int:
        return int(self.images.shape[0])


# Where a batch grows with K: what `torch.nn.functional.pad` takes, for one keypoint more.
_KEYPOINT_ENDS = {
    "template": (0, 0, 0, 1),
    "template_known": (0, 1),
    "adjacency": (0, 1, 0, 1),
    "joints": (0, 1),
    "target": (0, 0, 0, 1),
    "visible": (0, 1),
    "support_visible": (0, 1),
    "support_looks": (0, 0, 0, 1),
    "support_xy": (0, 0, 0, 1),
}


def filled(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """tensor: (n, …). Returns (count, …), the last row repeated; the tensor itself where it has as many."""
    import torch

    if len(tensor) == count:
        return tensor
    return torch.cat([tensor, tensor[-1:].expand(count - len(tensor), *tensor.shape[1:])])


@dataclass(frozen=True)
class Prediction:
    """xy: float (B, K, 2) in [0, 1] of the crop, always exactly K. score: float (B, K) in (0, 1), the chance that the
    keypoint lies within a tenth of the box's longer side of the truth."""

    xy: torch.Tensor
    score: torch.Tensor
