"""Whether a keypoint's score is what it says: of those with a score of 0.7, do 70 % lie within a tenth of the box?

Scores a checkpoint on pairs of its split, as its tokens have the scores and as its last validation calibrated them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from harness import parsed, parser, record
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from capetune.datasets.builtin import open_data
from capetune.evaluation.calibration import NEAR, reliability
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.protocol import official_pairs, pair_visible
from capetune.training.checkpoint import load_model


def scored(checkpoint: Path, part: str, episodes: int, queries: int, plain: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of every visible keypoint of all pairs its score, and whether it lies near the truth. plain: not calibrated."""
    model, meta = load_model(checkpoint)
    if plain:
        model.calibration = (1.0, 0.0)
    pack = open_data(meta.data["pack"])
    data = pack.part(meta.data["split"], part)
    pairs = official_pairs(data, 1, episodes, queries).categories
    predictor = ModelPredictor(model, pack, meta.config.data)
    scores, hits = [], []
    for entry, xy in predictor.predict_all(data.instances, pairs):
        drawn = pairs[entry]
        asked = [data.instances[drawn.category.id][query] for query in drawn.queries]
        truth, side = np.stack([each.xy for each in asked]), np.array([each.side for each in asked])
        visible = pair_visible(data.instances[drawn.category.id], drawn)
        near = np.linalg.norm(xy - truth, axis=-1) / side[:, None] < NEAR
        scores.append(predictor.scores[entry][visible])
        hits.append(near[visible])
    return np.concatenate(scores), np.concatenate(hits)


def told_apart(scores: np.ndarray, hits: np.ndarray) -> float:
    """How well the scores order good before bad, whatever their scale: the area under the ROC curve."""
    good = int(hits.sum())
    ranks = rankdata(scores)[hits].sum()
    return float((ranks - good * (good + 1) / 2) / max(1, good * (len(hits) - good)))


def main() -> None:
    made = parser(__doc__)
    made.add_argument("checkpoint", type=Path)
    made.add_argument("--part", default="test", choices=["train", "val", "test"])
    made.add_argument("--episodes", type=int, default=1)
    made.add_argument("--queries", type=int, default=15)
    arguments = parsed(made)
    for way in ("tokens", "calibrated"):
        asked = arguments.part, arguments.episodes, arguments.queries
        scores, hits = scored(arguments.checkpoint, *asked, plain=way == "tokens")
        rows, error = reliability(scores, hits)
        table = Table("score", "keypoints", "mean score", "near the truth", title=f"{way}, {arguments.part}")
        for low, count, score, hit in rows:
            table.add_row(f"{low:.1f} …", str(count), f"{score:.3f}", f"{hit:.3f}")
        Console(width=120).print(table)
        facts = {"reliability": way, "part": arguments.part, "keypoints": len(scores), "error": error}
        facts |= {"told apart": told_apart(scores, hits), "mean score": float(scores.mean())}
        record("reliability", facts | {"PCK@.1": float(hits.mean())}, arguments.save)


if __name__ == "__main__":
    main()
