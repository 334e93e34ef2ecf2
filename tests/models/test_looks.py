from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capetune.models.looks import averaged, read
from capetune.pose import Batch

SOURCES = ["features", "both"]


def test_between_the_centres_of_cells_it_is_between_their_values() -> None:
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    xy = torch.tensor([[[1 / 8, 1 / 6], [3 / 8, 1 / 6], [1 / 4, 1 / 6], [1 / 8, 1 / 3], [0.0, 0.0], [7 / 8, 5 / 6]]])
    wanted = torch.tensor([[0.0, 20], [1, 21], [0.5, 20.5], [2, 22], [0, 20], [11, 31]])
    torch.testing.assert_close(read((maps, maps.half() + 20), xy)[0], wanted)


def test_only_supports_that_show_a_keypoint_count() -> None:
    looks = torch.tensor([[[[1.0], [5.0], [torch.nan]], [[3.0], [torch.nan], [torch.nan]]]])
    visible = torch.tensor([[[True, True, False], [True, False, False]]])
    found = averaged(looks, visible)
    assert found.mean[0, :, 0].tolist() == [2, 5, 0]
    assert found.seen.tolist() == [[True, True, False]]


@pytest.fixture
def shown(make_batch: Callable[..., Batch]) -> Batch:
    """Poses of 5 and 3 keypoints with the images of two supports each, of which one is missing."""
    batch, noise = make_batch(5, 3, hidden=0.2), make_batch(5, 3, 5, 3, seed=1)
    visible = batch.joints.unsqueeze(1).repeat(1, 2, 1)
    visible[0, :, 1] = visible[1, 1] = False
    xy = noise.target.view(2, 2, 5, 2)
    return replace(
        batch,
        support_visible=visible,
        support_looks=torch.zeros(2, 2, 5, 0),
        support_xy=xy,
        support_images=noise.images.unflatten(0, (2, 2)),
    )


def without_images(batch: Batch, seen: torch.Tensor, visible: torch.Tensor) -> Batch:
    return replace(batch, support_looks=seen, support_visible=visible, support_xy=None, support_images=None)


@pytest.mark.parametrize("source", SOURCES)
def test_what_was_read_before_stands_for_the_images(source: str, make_model: Callable, shown: Batch) -> None:
    model = make_model(support={"source": source})
    looks = model.looks(shown)
    assert looks.seen[0].tolist() == [True, False, True, True, True]
    kept = without_images(shown, looks.mean.unsqueeze(1).detach(), looks.seen.unsqueeze(1))
    torch.testing.assert_close(model.predict(kept).xy, model.predict(shown).xy)
    other = replace(shown, support_images=shown.support_images.flip(-1))
    assert not torch.allclose(model.predict(other).xy, model.predict(shown).xy, atol=1e-3)


@pytest.mark.parametrize("source", SOURCES)
def test_what_no_support_shows_isnt_looked_at(source: str, make_model: Callable, shown: Batch) -> None:
    model = make_model(support={"source": source})
    moved = shown.support_xy.clone()
    moved[0, :, 1], moved[1, 1] = 0.9, 0.1
    images = shown.support_images.clone()
    images[1, 1] = 255
    assert torch.equal(
        model.predict(replace(shown, support_xy=moved, support_images=images)).xy, model.predict(shown).xy
    )


def test_features_alone_are_told_no_place(make_model: Callable, shown: Batch) -> None:
    model = make_model(support={"source": "features"})
    elsewhere = replace(shown, template=shown.template.flip(-1), template_known=~shown.template_known)
    assert torch.equal(model.predict(elsewhere).xy, model.predict(shown).xy)
    lonely = replace(shown, adjacency=torch.zeros_like(shown.adjacency))
    assert not torch.allclose(model.predict(lonely).xy, model.predict(shown).xy, atol=1e-4)


def test_the_support_s_image_trains_the_backbone(make_model: Callable, shown: Batch) -> None:
    model = make_model(support={"source": "both"}).train()
    loss = model.looks(shown).mean.square().sum()
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.net.parameters())


def test_more_padding_changes_nothing_and_tensors_come_back_in_their_order(make_model: Callable, shown: Batch) -> None:
    model = make_model(support={"source": "both"})
    wider = shown.padded(3, 8)
    torch.testing.assert_close(model.predict(wider).xy[:2, :5], model.predict(shown).xy, atol=1e-5, rtol=1e-4)
    again = Batch(*shown.tensors())
    assert again.support_images is shown.support_images
    kept = without_images(shown, torch.zeros(2, 1, 5, 4), shown.support_visible[:, :1])
    assert Batch(*kept.padded(2, 6).tensors()).support_looks.shape == (2, 1, 6, 4)


def test_a_model_of_geometry_has_no_weights_for_looks(make_model: Callable) -> None:
    assert not [name for name in make_model().state_dict() if "look" in name.split(".")[1:2] or "unseen" in name]
