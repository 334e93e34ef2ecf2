"""What a model's scores are worth: of keypoints with a score of 0.7, 70 % should lie near the truth."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

NEAR = 0.1  # of the longer box side: as `models.generate` has it in crops


def fitted(scores: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Slope and offset that turn a score s into the chance σ(slope · logit(s) + offset) of lying near the truth.

    scores: (n,) in (0, 1). hits: (n,), 1 or True = nearer than NEAR. Platt 1999, with his targets, which keep a few
    keypoints that all hit from making every score 1; and as if the scores were right as they are, with the weight of
    one keypoint each. Of no keypoints (1, 0).
    """
    if not len(scores):
        return 1.0, 0.0
    logits, near = torch.logit(torch.from_numpy(scores).double()), torch.from_numpy(hits).bool()
    good, all = int(near.sum()), len(near)
    wanted = torch.where(near, (good + 1) / (good + 2), 1 / (all - good + 2)).double()
    plain = torch.tensor([1.0, 0.0], dtype=torch.float64)
    with torch.inference_mode(False), torch.enable_grad():
        found = plain.clone().requires_grad_()
        search = torch.optim.LBFGS([found], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            search.zero_grad()
            away = F.binary_cross_entropy_with_logits(found[0] * logits + found[1], wanted, reduction="sum")
            value = (away + (found - plain).square().sum() / 2) / all
            value.backward()
            return value

        search.step(loss)  # type: ignore[no-untyped-call]
    slope, offset = found.tolist()
    return slope, offset


def reliability(
    scores: np.ndarray, hits: np.ndarray, bins: int = 10
) -> tuple[list[tuple[float, int, float, float]], float]:
    """For each bin of scores that has any: its lower end, how many, their mean score, the share of hits. And the mean
    over keypoints of how far the two are apart: the expected calibration error (Guo et al. 2017)."""
    place = np.minimum((scores * bins).astype(int), bins - 1)
    rows = [
        (b / bins, int((place == b).sum()), float(scores[place == b].mean()), float(hits[place == b].mean()))
        for b in np.unique(place).tolist()
    ]
    return rows, sum(count * abs(score - hit) for _, count, score, hit in rows) / len(scores)
