"""Support pose encoder: template coordinates and graph to one embedding a keypoint (paper §5.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from capetune.config import ModelConfig
from capetune.models.attention import Attention, FeedForward, additive, sinusoid
from capetune.models.looks import Looks
from capetune.models.tokens import CoordinateTable


class AdjacencyEmbedding(nn.Module):
    """A learned embedding of a keypoint's edges (paper §5.2): where its neighbours lie in the template.

    The mean over neighbours of a linear map of [their place, the step to them]: it needs no largest K, and renumbering
    the keypoints renumbers the embeddings. A keypoint without edges gets a learned vector of its own.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.places = CoordinateTable(vocabulary, width)
        self.step = nn.Linear(2, width)
        self.alone = nn.Parameter(torch.zeros(width))

    def forward(self, template: Tensor, adjacency: Tensor) -> Tensor:
        """template: (B, K, 2) in [0, 1]. adjacency: bool (B, K, K), rows of neighbours. Returns (B, K, width)."""
        degree = adjacency.sum(dim=-1, keepdim=True)
        weight = adjacency / degree.clamp(min=1)
        step = template.unsqueeze(1) - template.unsqueeze(2)  # [b, i, j] leads from i to j
        mean_step = (weight.unsqueeze(-1) * step).sum(dim=2)
        return torch.where(degree > 0, weight @ self.places(template) + self.step(mean_step), self.alone)


class NeighbourLooks(nn.Module):
    """What `AdjacencyEmbedding` is where no coordinate is told: the mean over neighbours of a map of how they look."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.alone = nn.Parameter(torch.zeros(width))

    def forward(self, looks: Tensor, adjacency: Tensor) -> Tensor:
        """looks: (B, K, width). adjacency: bool (B, K, K), rows of neighbours. Returns (B, K, width)."""
        degree = adjacency.sum(dim=-1, keepdim=True)
        weight = adjacency / degree.clamp(min=1)
        return torch.where(degree > 0, weight @ self.linear(looks), self.alone)


class SupportLayer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, config.dropout)
        self.feed_norm = nn.LayerNorm(config.width)
        self.feed = FeedForward(config.width, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.dropout(self.attention.to_itself(self.attention_norm(x), bias))
        return x + self.dropout(self.feed(self.feed_norm(x)))


class SupportEncoder(nn.Module):
    """Transformer encoder over the keypoints of the template: over their places, as the paper has it, or over how the
    supports' images look there (POMNet, Xu et al. 2022; PoseAnything, Hirschorn and Avidan 2024), or over both.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        """channels: of all the backbone's maps together, where the supports' images are looked at."""
        super().__init__()
        self.width = config.width
        self.places: CoordinateTable | None = None
        self.adjacency: AdjacencyEmbedding | NeighbourLooks
        if config.support.source == "features":
            self.adjacency = NeighbourLooks(config.width)
        else:
            self.places = CoordinateTable(config.vocabulary, config.width)
            self.unknown = nn.Parameter(torch.zeros(config.width))
            self.adjacency = AdjacencyEmbedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(SupportLayer(config) for _ in range(config.support.layers))
        self.norm = nn.LayerNorm(config.width)
        if config.support.looks:
            self.look = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, config.width))
            self.unseen = nn.Parameter(torch.zeros(config.width))

    def forward(
        self, template: Tensor, known: Tensor, adjacency: Tensor, joints: Tensor, looks: Looks | None = None
    ) -> tuple[Tensor, Tensor]:
        """template: (B, K, 2) in [0, 1]. known, joints: bool (B, K), True = real. adjacency: bool (B, K, K). looks: of
        the supports' images, for a model that looks at them.

        Returns the support embeddings E_s and the adjacency embeddings, each (B, K, width), zero at padding.
        """
        told = []
        if self.places is not None:
            told.append(torch.where(known.unsqueeze(-1), self.places(template), self.unknown))
        if looks is not None:
            told.append(torch.where(looks.seen.unsqueeze(-1), self.look(looks.mean), self.unseen))
        edges = self.adjacency(told[0] if self.places is None else template, adjacency & joints.unsqueeze(1))
        order = sinusoid(torch.arange(template.shape[1], device=template.device), self.width)
        x = sum(told, edges) + order
        # Padding attends to itself alone, so that no row of the mask is empty.
        itself = torch.eye(joints.shape[1], dtype=torch.bool, device=joints.device)
        bias = additive(joints.unsqueeze(1) | itself).unsqueeze(1)
        for layer in self.layers:
            x = layer(x, bias)
        real = joints.unsqueeze(-1)
        return self.norm(x) * real, edges * real
