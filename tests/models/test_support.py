from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capetune.config import ModelConfig
from capetune.models.support import AdjacencyEmbedding, SupportEncoder
from capetune.pose import Batch


@pytest.fixture(scope="module")
def encoder(make_config: Callable[..., ModelConfig]) -> SupportEncoder:
    torch.manual_seed(0)
    encoder = SupportEncoder(make_config(support={"layers": 2}), channels=0).eval()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return encoder


def encode(encoder: SupportEncoder, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return encoder(batch.template, batch.template_known, batch.adjacency, batch.joints)


def test_one_embedding_a_keypoint_and_zero_at_padding(encoder: SupportEncoder, make_batch: Callable) -> None:
    support, edges = encode(encoder, make_batch(5, 3))
    assert support.shape == edges.shape == (2, 5, 32)
    for embedding in (support, edges):
        assert not embedding[1, 3:].any()
        assert embedding[0].abs().amax(-1).min() > 0
        assert embedding[1, :3].abs().amax(-1).min() > 0


def test_moving_one_keypoint_reaches_all_embeddings(encoder: SupportEncoder, make_batch: Callable) -> None:
    batch = make_batch(5)
    moved = batch.template.clone()
    moved[0, 2, 0] += 0.2
    change = (encode(encoder, replace(batch, template=moved))[0] - encode(encoder, batch)[0]).abs().amax(-1)
    assert change.min() > 1e-4


def test_one_edge_changes_the_embeddings_of_its_ends(encoder: SupportEncoder, make_batch: Callable) -> None:
    batch = make_batch(6)
    graph = batch.adjacency.clone()
    graph[0, 0, 3] = graph[0, 3, 0] = True
    support, edges = encode(encoder, replace(batch, adjacency=graph))
    support_before, edges_before = encode(encoder, batch)
    assert (edges != edges_before).any(-1)[0].tolist() == [True, False, False, True, False, False]
    assert (support - support_before).abs().amax(-1).min() > 1e-4


def test_an_unknown_keypoint_is_told_from_one_at_the_same_place(encoder: SupportEncoder, make_batch: Callable) -> None:
    batch = make_batch(4)
    known = batch.template_known.clone()
    known[0, 1] = False
    assert not torch.allclose(
        encode(encoder, replace(batch, template_known=known))[0], encode(encoder, batch)[0], atol=1e-4
    )


def test_noise_in_padding_changes_nothing(encoder: SupportEncoder, make_batch: Callable) -> None:
    batch = make_batch(5, 3)
    template, graph, known = batch.template.clone(), batch.adjacency.clone(), batch.template_known.clone()
    template[1, 3:] = torch.rand(2, 2)
    graph[1, 3:] = graph[1, :, 3:] = True
    known[1, 3:] = True
    noisy = replace(batch, template=template, adjacency=graph, template_known=known)
    for got, wanted in zip(encode(encoder, noisy), encode(encoder, batch), strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_neighbour_in_the_batch_changes_nothing(
    encoder: SupportEncoder, make_batch: Callable, alone: Callable
) -> None:
    batch = make_batch(7, 3)
    for got, wanted in zip(encode(encoder, alone(batch, 1)), encode(encoder, batch), strict=True):
        torch.testing.assert_close(got[0], wanted[1, :3], atol=1e-5, rtol=1e-5)


def test_adjacency_embedding_is_a_function_of_the_graph_not_of_the_numbering(make_batch: Callable) -> None:
    torch.manual_seed(0)
    embedding = AdjacencyEmbedding(16, 8)
    batch = make_batch(6)
    order = torch.randperm(6)
    renumbered = embedding(batch.template[:, order], batch.adjacency[:, order][:, :, order])
    torch.testing.assert_close(renumbered, embedding(batch.template, batch.adjacency)[:, order])


def test_adjacency_embedding_is_the_mean_over_neighbours() -> None:
    torch.manual_seed(0)
    embedding = AdjacencyEmbedding(16, 8)
    torch.nn.init.normal_(embedding.alone)
    template = torch.rand(1, 4, 2)
    graph = torch.zeros(1, 4, 4, dtype=torch.bool)
    graph[0, 0, 1] = graph[0, 1, 0] = graph[0, 0, 2] = graph[0, 2, 0] = True
    got = embedding(template, graph)[0]
    p = template[0]
    each = [embedding.places(p[j]) + embedding.step(p[j] - p[0]) for j in (1, 2)]
    torch.testing.assert_close(got[0], (each[0] + each[1]) / 2)
    torch.testing.assert_close(got[1], embedding.places(p[0]) + embedding.step(p[0] - p[1]))
    torch.testing.assert_close(got[3], embedding.alone)


def test_every_weight_gets_a_gradient(encoder: SupportEncoder, make_batch: Callable) -> None:
    batch = make_batch(5)
    known, graph = batch.template_known.clone(), batch.adjacency.clone()
    known[0, 4] = False
    graph[0, 3] = graph[0, :, 3] = False
    support, edges = encoder(batch.template, known, graph, batch.joints)
    (support.square().sum() + edges.sum()).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in encoder.parameters())
    encoder.zero_grad(set_to_none=True)
