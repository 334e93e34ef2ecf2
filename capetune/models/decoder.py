"""Cross-modal decoder: previous tokens, image features and support embeddings to the next token (paper §5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from capetune.config import ModelConfig
from capetune.models.attention import Attention, FeedForward, Past, additive, sinusoid
from capetune.models.backbone import Maps
from capetune.models.compiled import compiled
from capetune.models.deformable import DeformableAttention
from capetune.models.nets import PYRAMID
from capetune.models.tokens import SPECIALS, CoordinateTable, Kind, Layout, layout


@dataclass(frozen=True)
class Memory:
    """What the decoder looks at, projected once for all steps. One entry a layer in each list.

    values: a map a stride, (B, width, h, w). support: keys and values, (B, heads, K, width / heads).
    embedding: (B, K, width), the support's. joints: bool (B, K); real: the same, (B, 1, 1, K), as attention wants it.
    step: (B, K + 1, width), what is added at the steps of keypoint i: its number, edges and support; row K is <eos>.
    start: (B, K + 1, 2) in [0, 1], where deformable attention first looks for keypoint i.
    """

    values: list[Maps]
    support: list[tuple[Tensor, Tensor]]
    embedding: Tensor
    joints: Tensor
    real: Tensor
    step: Tensor
    start: Tensor


@dataclass
class Cache:
    """Room for the queries, keys and values of all T steps, (B, T, 3 width) a layer; `steps` of them are decoded.

    whole: attention reads all of it through a mask, so that every step has the same shapes, as a compiled one wants.
    causal: (T, T), what attention adds for the mask.
    """

    past: list[Tensor]
    causal: Tensor
    whole: bool
    steps: int = 0

    def room(self, layer: int, begin: int, end: int) -> Past:
        """What a layer's attention takes for the steps from `begin` to before `end`."""
        if self.whole:
            return self.past[layer], torch.arange(begin, end, device=self.causal.device)
        return self.past[layer][:, :end], slice(begin, end)


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, heads, dropout = config.width, config.heads, config.dropout
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, dropout)
        self.image_norm = nn.LayerNorm(width)
        self.image_attention = DeformableAttention(
            width, heads, config.decoder.points, len(PYRAMID) if config.backbone.stride == "pyramid" else 1
        )
        self.support_norm = nn.LayerNorm(width)
        self.support_attention = Attention(width, heads, dropout)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = FeedForward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        reference: Tensor,
        value: Maps,
        support: tuple[Tensor, Tensor],
        real: Tensor,
        causal: Tensor | None,
        past: Past | None,
    ) -> Tensor:
        x = x + self.dropout(self.self_attention.to_itself(self.self_norm(x), causal, past))
        x = x + self.dropout(self.image_attention(self.image_norm(x), reference, value))
        x = x + self.dropout(self.support_attention(self.support_norm(x), *support, real))
        return x + self.dropout(self.feed(self.feed_norm(x)))


class Decoder(nn.Module):
    """The decoder with its token embedding and its two heads, which all layers share."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compiled = False
        width = config.width
        self.places = CoordinateTable(config.vocabulary, width)
        self.special = nn.Embedding(SPECIALS, width)
        self.support_step = nn.Linear(width, width) if config.support_at_step else None
        self.guess = CoordinateTable(config.vocabulary, width) if config.refine else None
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder.layers))
        self.norm = nn.LayerNorm(width)
        self.axes = 1 if config.sequence == "xy" else 2
        self.tokens = config.vocabulary + SPECIALS
        self.token_head = nn.Linear(width, self.axes * self.tokens)
        self.point_head = nn.Linear(width, 2)

    def remember(self, features: Maps, support: Tensor, edges: Tensor, template: Tensor, joints: Tensor) -> Memory:
        """Project what all steps share.

        features: a map a stride, (B, width, h, w). support, edges: (B, K, width), zero at padding. template: (B, K, 2).
        joints: (B, K).
        """
        step = edges if self.support_step is None else edges + self.support_step(support) * joints.unsqueeze(-1)
        step = torch.cat([step, torch.zeros_like(step[:, :1])], dim=1)
        step = step + sinusoid(torch.arange(step.shape[1], device=step.device), self.config.width)
        start = torch.where(joints.unsqueeze(-1), template, 0.5)
        return Memory(
            [layer.image_attention.project(features) for layer in self._layers()],
            [layer.support_attention.project(support) for layer in self._layers()],
            support,
            joints,
            additive(joints[:, None, None, :]),
            step,
            torch.cat([start, torch.full_like(start[:, :1], 0.5)], dim=1),
        )

    def refining(self, memory: Memory, guess: Tensor) -> Memory:
        """What the second pass looks at: every keypoint's first guess beside its support, and the image around it.

        guess: (B, K, 2) in [0, 1]; what stands at padding isn't read.
        """
        assert self.guess is not None, "model.refine is off"
        real = memory.joints.unsqueeze(-1)
        seen = self.guess(guess) * real
        return replace(
            memory,
            support=[layer.support_attention.project(memory.embedding + seen) for layer in self._layers()],
            step=torch.cat([memory.step[:, :-1] + seen, memory.step[:, -1:]], dim=1),
            start=torch.cat([torch.where(real, guess, 0.5), memory.start[:, -1:]], dim=1),
        )

    def _layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.layers))

    def plan(self, keypoints: int, device: torch.device) -> Layout:
        """The layout of this decoder's format for K keypoints."""
        return layout(self.config.sequence, keypoints, device)

    def embed(self, kind: Tensor, xy: Tensor) -> Tensor:
        """Tokens that enter. kind: int64 (T,), a `Kind`. xy: (B, T, 2) in [0, 1], read where the kind asks for it."""
        special = self.special(kind.clamp(max=SPECIALS - 1))
        x, y = self.places.axis(xy[..., 0], 0), self.places.axis(xy[..., 1], 1)
        is_x, is_y = (kind >= int(Kind.X)) & (kind != int(Kind.Y)), kind >= int(Kind.Y)
        return special * (kind < SPECIALS).unsqueeze(-1) + x * is_x.unsqueeze(-1) + y * is_y.unsqueeze(-1)

    def forward(
        self, plan: Layout, xy: Tensor, memory: Memory, cache: Cache | None = None, every_layer: bool = True
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Decode the next steps of `plan`: as many as xy has, after those in `cache`, which is brought up to date.

        xy: (B, T, 2), the place of the token that enters at each step. Returns for each layer the token logits
        (B, T, A, V + 4) and the points (B, T, 2) in (0, 1). every_layer=False gives the logits of the last layer alone.
        """
        begin = cache.steps if cache else 0
        end = begin + xy.shape[1]
        keypoint = plan.keypoint[begin:end]
        x = compiled(_enter, self.compiled)(self, plan.entering[begin:end], xy, memory.step, keypoint)
        reference = memory.start[:, keypoint]
        causal: Tensor | None
        if cache is None:
            causal = causal_bias(end, xy.device)
        elif cache.whole:
            causal = cache.causal[begin:end]
        else:  # a single step may look at all there is
            causal = cache.causal[begin:end, :end] if xy.shape[1] > 1 else None
        past = [cache.room(i, begin, end) if cache else None for i in range(len(self.layers))]
        found = self.through(x, reference, memory, causal, past, every_layer)
        if cache is not None:
            cache.steps = end
        return found

    def through(
        self,
        x: Tensor,
        reference: Tensor,
        memory: Memory,
        causal: Tensor | None,
        past: Sequence[Past | None],
        every_layer: bool = True,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The layers on T steps that entered, x (B, T, width), which first look at `reference`, (B, T, 2). Returns what
        `forward` does. causal: from `additive`. past: each layer's own, as its attention wants it."""
        logits, points = [], []
        for i, layer in enumerate(self._layers()):
            seen = (memory.values[i], memory.support[i], memory.real, causal, past[i])
            x, h, reference = compiled(_layer, self.compiled)(self, layer, x, reference, *seen)
            points.append(reference)
            reference = reference.detach()  # the next layer looks where this one points
            if every_layer or i == len(self.layers) - 1:
                logits.append(self.token_head(h).unflatten(-1, (self.axes, -1)))
        return logits, points

    def cache(self, batch: int, steps: int, device: torch.device) -> Cache:
        """An empty one for B poses of T steps."""
        past = [torch.zeros(batch, steps, 3 * self.config.width, device=device) for _ in self.layers]
        return Cache(past, causal_bias(steps, device), self.compiled)


def _enter(decoder: Decoder, kind: Tensor, xy: Tensor, step: Tensor, keypoint: Tensor) -> Tensor:
    return decoder.embed(kind, xy) + step[:, keypoint]


def _layer(decoder: Decoder, layer: DecoderLayer, *seen: Any) -> tuple[Tensor, Tensor, Tensor]:
    """One layer on what its `forward` takes. Returns what it gives, that normalised, and where it points, (B, T, 2)."""
    x = layer(*seen)
    h = decoder.norm(x)
    return x, h, decoder.point_head(h).sigmoid()


def causal_bias(steps: int, device: torch.device) -> Tensor:
    """(T, T), what attention adds so that each step sees itself and those before it."""
    order = torch.arange(steps, device=device)
    return additive(order <= order.unsqueeze(1))
