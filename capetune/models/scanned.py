"""Generation as one loop over keypoints, which an exported program can hold for any K.

`models.generate` is Python, which torch.export would unroll: the decoder as often as there are keypoints, for one K.
Here the same steps are the body of a scan, written once. Only what is exported runs so: at each step the loop reads the
room of all of them through a mask, where `generate` reads those that are decoded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan
from torch.nn import functional as F

from capetune.models.decoder import Decoder, Memory, causal_bias
from capetune.models.generate import finished, place
from capetune.models.tokens import Kind, Layout, Sequence
from capetune.pose import Prediction

# The steps that each keypoint's calls of the decoder take, counted from its first; -1 is the one before.
CALLS: dict[Sequence, tuple[tuple[int, ...], ...]] = {"xy": ((-1, 0, 1), (2,)), "point": ((0,),)}


def generate_scanned(decoder: Decoder, memory: Memory) -> Prediction:
    """What `generate` gives, up to rounding. K may be a symbol of torch.export's. On a CPU."""
    config, keypoints = decoder.config, memory.joints.shape[1]
    plan, calls = traced_layout(config.sequence, keypoints), CALLS[config.sequence]
    xy, logits = _first_pass(decoder, memory, plan, calls)
    if not config.refine:  # these logits are the calls', one after the other, and not the steps'
        order = torch.arange(keypoints)
        plan = replace(plan, x=order, y=order + (len(calls) - 1) * keypoints)
    return finished(decoder, memory, plan, xy, logits)


def _first_pass(
    decoder: Decoder, memory: Memory, plan: Layout, calls: tuple[tuple[int, ...], ...]
) -> tuple[Tensor, Tensor]:
    """Returns xy (B, K, 2), and the logits of each call for all keypoints, one call after the other: (B, calls · K, A,
    V + 4)."""
    batch, keypoints = memory.joints.shape
    lead = -calls[0][0]  # places before the first step, for what stands there of no keypoint: only it sees itself
    length = sum(map(len, calls))
    steps = plan.kind.shape[0] + lead
    entering = F.pad(plan.entering, (lead, 0))
    order = torch.arange(steps)
    causal = torch.where((order < lead) & (order.unsqueeze(1) >= lead), -torch.inf, causal_bias(steps, order.device))
    # A scan wants tensors that share no memory.
    memory = replace(
        memory,
        support=[(key.clone(), value.clone()) for key, value in memory.support],
        step=memory.step.clone(),
        start=memory.start.clone(),
    )

    def keypoint(carry: tuple[Tensor, ...], number: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """carry: each layer's room, (B, steps, 3 width), and where the token before lies, (B, 2)."""
        *before, last = carry
        past = [kept.clone() for kept in before]
        placed, found = [], []
        for call in calls:
            offsets = torch.arange(call[0], call[-1] + 1)  # a scan's body can't hold a constant tensor
            at = number * length + lead + offsets
            own = (number + offsets.clamp(max=0)).clamp(min=0)
            sample = F.pad(last.unsqueeze(1), (0, 0, 0, len(call) - 1))  # what follows it is structure
            x = decoder.embed(entering[at], sample) + memory.step[:, own]
            rooms: Any = [(kept, at) for kept in past]
            logits, points = decoder.through(x, memory.start[:, own], memory, causal[at], rooms, every_layer=False)
            last = place(logits[-1][:, -1:], points[-1][:, -1:], decoder.config)[:, 0]
            placed.append(last)
            found.append(logits[-1][:, -1].clone())
        xy = torch.stack([placed[0][:, 0], placed[-1][:, 1]], dim=-1)
        return (*past, last.clone()), (xy, *found)

    rooms = [torch.zeros(batch, steps, 3 * decoder.config.width) for _ in decoder.layers]
    _, (xy, *logits) = scan(keypoint, (*rooms, torch.zeros(batch, 2)), torch.arange(keypoints))
    return xy.transpose(0, 1), torch.cat([each.transpose(0, 1) for each in logits], dim=1)


def traced_layout(sequence: Sequence, keypoints: int) -> Layout:
    """`tokens.layout` where K may be a symbol; without `steps`, which is a list of them."""
    cycle = [Kind.COORD, Kind.X, Kind.Y, Kind.SEP] if sequence == "xy" else [Kind.POINT]
    kinds = torch.tensor([int(kind) for kind in cycle])
    length, order = len(cycle), torch.arange(keypoints * len(cycle) + 1)
    kind = torch.where(order == keypoints * length, int(Kind.EOS), kinds[order % length])
    before = torch.where(order == 0, int(Kind.BOS), kinds[(order - 1).clamp(min=0) % length])
    x, y = (1, 2) if sequence == "xy" else (0, 0)
    first = torch.arange(keypoints) * length
    return Layout(kind, order // length, before, first + x, first + y, ())
