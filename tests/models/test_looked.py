from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from capetune.models import deformable
from capetune.models.looked import watched


@torch.no_grad()
def test_what_a_keypoint_looked_at_is_what_the_last_layer_read(
    shared_model: Callable, make_batch: Callable, sequence: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read off the layer as it ran: the grids that were sampled, and the weights as its linear layer gave them."""
    model, batch = shared_model(sequence, option), make_batch(5, 3)
    last, refine = model.decoder.layers[-1].image_attention, model.config.refine
    grids: list[list[torch.Tensor]] = []
    given: list[torch.Tensor] = []
    inside = False

    def sampled(maps: torch.Tensor, grid: torch.Tensor, **options: object) -> torch.Tensor:
        if inside:
            grids[-1].append((grid.unflatten(0, (2, last.heads)).transpose(1, 2) + 1) / 2)
        return real(maps, grid, **options)

    def began(*_: object) -> None:
        nonlocal inside
        inside = True
        grids.append([])

    def ended(*_: object) -> None:
        nonlocal inside
        inside = False

    real = F.grid_sample
    monkeypatch.setattr(deformable.F, "grid_sample", sampled)
    hooks = [last.register_forward_pre_hook(began), last.register_forward_hook(ended)]
    hooks.append(last.look.register_forward_hook(lambda _, asked, out: given.append(out) if inside else None))
    features = model.backbone(batch.images)
    with watched(model) as watch:
        prediction = model.predict(batch, features)
    found = watch.looked(5)
    for hook in hooks:
        hook.remove()
    plan = model.decoder.plan(5, batch.joints.device)
    for k in range(5):
        steps = [plan.x[k], plan.y[k]] if sequence == "xy" else [plan.x[k]]
        calls = [(len(grids) - 1, step) if refine else (len(steps) * k + n, -1) for n, step in enumerate(steps)]
        places = torch.cat([torch.stack(grids[call], dim=3)[:, at].flatten(1, 3) for call, at in calls], dim=1)
        raw = [given[call][:, at].view(2, last.heads, -1, 3)[..., 2] for call, at in calls]
        weights = torch.cat([each.softmax(-1).flatten(1) for each in raw], dim=1) / (last.heads * len(steps))
        torch.testing.assert_close(found[0][:, k], places, atol=1e-5, rtol=0)
        torch.testing.assert_close(found[1][:, k], weights, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1].sum(dim=-1), torch.ones(2, 5))
    assert torch.equal(prediction.xy, model.predict(batch, features).xy)
