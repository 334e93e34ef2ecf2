from __future__ import annotations

from collections.abc import Callable

import torch

from capetune.pose import Batch


def noise(count: int, keypoints: int) -> Batch:
    real = torch.ones(count, keypoints, dtype=torch.bool)
    return Batch(
        images=torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8),
        template=torch.rand(count, keypoints, 2),
        template_known=real,
        adjacency=torch.rand(count, keypoints, keypoints) < 0.5,
        joints=real,
        target=torch.rand(count, keypoints, 2),
        visible=real,
        to_source=torch.rand(count, 2, 3, dtype=torch.float64),
        side=torch.rand(count, dtype=torch.float64),
        ids=torch.arange(count) + 2**53,
    )


def test_a_padded_batch_holds_the_samples_then_the_last_again_and_no_keypoint_more() -> None:
    batch = noise(2, 3)
    padded = batch.padded(4, 5)
    assert len(padded) == 4
    assert padded.ids.tolist() == [2**53, 2**53 + 1, 2**53 + 1, 2**53 + 1]
    assert padded.adjacency.shape == (4, 5, 5)
    for mine, its in zip(padded.tensors(), batch.tensors(), strict=True):
        assert mine.dtype == its.dtype
        assert torch.equal(mine[tuple(map(slice, its.shape))], its)
    for mask in (padded.joints, padded.visible, padded.template_known, padded.adjacency.any(dim=1)):
        assert not mask[:, 3:].any()


def test_a_batch_of_the_size_asked_for_stays_as_it_is() -> None:
    batch = noise(2, 3)
    assert all(map(torch.equal, batch.padded(2, 3).tensors(), batch.tensors()))
    assert batch.padded(2, 5).images is batch.images  # nor is what doesn't grow copied


def test_tensors_come_in_the_order_in_which_a_batch_takes_them() -> None:
    batch = noise(2, 3)
    again: Callable[..., Batch] = Batch
    assert all(map(torch.equal, again(*batch.tensors()).tensors(), batch.tensors()))
