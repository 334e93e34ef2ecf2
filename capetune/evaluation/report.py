"""What an evaluation found, with everything needed to say whether two of them may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from capetune.datasets.mp100.catalogue import Coverage
from capetune.evaluation.compare import Comparison
from capetune.evaluation.examples import Example
from capetune.evaluation.failures import NONE, Failures
from capetune.evaluation.figures import Figures
from capetune.evaluation.intervals import Interval, over_categories, over_draws
from capetune.evaluation.pck import CURVE, THRESHOLDS, mpck4, mpck5
from capetune.evaluation.protocol import Measure, NotSampled, protocol_name
from capetune.evaluation.seen import Seen
from capetune.pose import Category, Part


@dataclass(frozen=True)
class Scores:
    """Means over `pairs` pairs. pck: one number in [0, 1] for each of THRESHOLDS. auc: in [0, 1]; nme: in longer box
    sides; epe: in source pixels, as `figures` defines them."""

    pairs: int
    pck: tuple[float, ...]
    auc: float
    nme: float
    epe: float

    @classmethod
    def of(cls, figures: Figures) -> Scores:
        """Of P ≥ 1 pairs."""
        means = (float(values.mean()) for values in (figures.auc, figures.nme, figures.epe))
        return cls(len(figures.pck), tuple(float(x) for x in figures.pck.mean(axis=0)), *means)

    @classmethod
    def mean(cls, parts: Sequence[Scores]) -> Scores:
        """Of several with as many pairs each."""
        pck = tuple(float(x) for x in np.mean([part.pck for part in parts], axis=0))
        means = (float(np.mean([getattr(part, name) for part in parts])) for name in ("auc", "nme", "epe"))
        return cls(sum(part.pairs for part in parts), pck, *means)

    @property
    def mpck4(self) -> float:
        """Mean over {.05, .10, .15, .20}."""
        return float(mpck4(np.array(self.pck)))

    @property
    def mpck5(self) -> float:
        """Mean over {.05, .10, .15, .20, .25}."""
        return float(mpck5(np.array(self.pck)))

    def to_json(self) -> dict[str, Any]:
        """Keys: pairs, pck {"0.05": …, "0.1": …}, mpck4, mpck5, auc, nme, epe."""
        pck = {f"{t:g}": x for t, x in zip(THRESHOLDS, self.pck, strict=True)}
        means = {"mpck4": self.mpck4, "mpck5": self.mpck5}
        return {"pairs": self.pairs, "pck": pck, **means, "auc": self.auc, "nme": self.nme, "epe": self.epe}


@dataclass(frozen=True)
class CategoryScores:
    """One category: the predictor's scores and the template baseline's on the same pairs. episodes: float (E,), the
    predictor's mPCK4 of each episode. curves: float (2, T), the predictor's and the template's PCK at `pck.CURVE`."""

    category: Category
    scores: Scores
    template: Scores
    episodes: np.ndarray = field(repr=False, compare=False)
    failures: Failures = NONE
    curves: np.ndarray = field(default_factory=lambda: np.zeros((2, len(CURVE))), repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As `Scores.to_json`, with the name, the template's scores and the failures."""
        beside = {"template": self.template.to_json(), "failures": self.failures.to_json()}
        return {"name": self.category.name, **self.scores.to_json(), **beside}


@dataclass(frozen=True)
class SuperScores:
    """A super-category: means over its categories, of which each has as many pairs."""

    categories: int
    scores: Scores
    template: Scores

    @classmethod
    def of(cls, rows: Sequence[CategoryScores]) -> SuperScores:
        return cls(len(rows), *(Scores.mean([getattr(row, name) for row in rows]) for name in ("scores", "template")))

    def to_json(self) -> dict[str, Any]:
        return {"categories": self.categories, **self.scores.to_json(), "template": self.template.to_json()}


@dataclass(frozen=True)
class EvalReport:
    """The score of a predictor on a part, beside the template baseline's on the same pairs and keypoints.

    protocol: "official", or what differs from it. synthetic: the data set was made by capetune. empty_pairs: pairs
    without a keypoint visible on both sides; they score 0 and are in every mean. not_sampled: categories with too few
    instances for an episode, not in any mean. left_out: instances that the data
    lacks, though they are annotated. checkpoint, config_hash: None for what isn't a model. ablation: the scores on the
    same pairs with each wrong support of `support.ablations`; empty where they weren't asked for. pairs_hash: of the
    pairs and their truth, as `protocol.pairs_hash`. weights_hash: of the checkpoint's weights. data_hash: the pack's
    fingerprint, or the annotation file's. epoch: the checkpoint's. seen: what of the part the model was trained on;
    None where no model is known. comparison: with another result, where one was named. coverage:
    how much of MP-100 the pack has; None where it is another data set's, or annotations were scored. examples: pairs to
    look at, by group of `examples.GROUPS`. pack: the address of what was scored; None where annotations were. measure:
    what distances are divided by, as `evaluate` has it.
    """

    protocol: str
    split: int
    part: str
    shots: int
    episodes: int
    queries: int
    synthetic: bool
    predictor: str
    empty_pairs: int
    scores: Scores
    template: Scores
    per_category: tuple[CategoryScores, ...] = field(repr=False)  # a hundred of them tell nobody anything at a prompt
    not_sampled: tuple[NotSampled, ...] = field(repr=False)
    left_out: int = 0
    checkpoint: str | None = None
    config_hash: str | None = None
    ablation: Mapping[str, Scores] = field(default_factory=dict)
    pairs_hash: str | None = None
    weights_hash: str | None = None
    data_hash: str | None = None
    epoch: int | None = None
    seen: Seen | None = None
    comparison: Comparison | None = None
    coverage: Coverage | None = None
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict, repr=False, compare=False)
    pack: str | None = None
    measure: Measure = "official"

    @cached_property
    def intervals(self) -> dict[str, Interval | None]:
        """Those of mPCK4, as `intervals.over_categories` and `intervals.over_draws` have them."""
        return {
            "categories": over_categories([row.scores.mpck4 for row in self.per_category]),
            "draws": over_draws([row.episodes for row in self.per_category]),
        }

    @cached_property
    def failures(self) -> Failures:
        """Of all categories."""
        return Failures.joined([row.failures for row in self.per_category])

    @cached_property
    def curves(self) -> np.ndarray:
        """float64 (2, T): PCK at `pck.CURVE`, the predictor's and the template's, means over pairs, of which every
        category has as many."""
        return np.mean([row.curves for row in self.per_category], axis=0)

    @cached_property
    def supercategories(self) -> dict[str, SuperScores]:
        """By super-category, in the order of the part; without the categories that have none."""
        groups: dict[str, list[CategoryScores]] = {}
        for row in self.per_category:
            if row.category.supercategory:
                groups.setdefault(row.category.supercategory, []).append(row)
        return {name: SuperScores.of(rows) for name, rows in groups.items()}

    @property
    def missing(self) -> tuple[Category, ...]:
        """Categories the part lists without a single instance; they stand in `not_sampled` too."""
        return tuple(entry.category for entry in self.not_sampled if entry.instances == 0)

    def known(self, seen: Seen, part: Part) -> EvalReport:
        """With what of the part the model was trained on, which the protocol's name must say too."""
        name = protocol_name(part, self.episodes, self.queries, seen.words, self.measure)
        return replace(self, protocol=name, seen=seen)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON types; shares are in [0, 1], category ids are strings where they are keys."""
        return {
            "protocol": self.protocol,
            "measure": self.measure,
            "split": self.split,
            "part": self.part,
            "shots": self.shots,
            "episodes": self.episodes,
            "queries": self.queries,
            "data": "synthetic" if self.synthetic else "real",
            "predictor": self.predictor,
            **self.scores.to_json(),
            "intervals": {name: found and found.to_json() for name, found in self.intervals.items()},
            "empty_pairs": self.empty_pairs,
            "template": self.template.to_json(),
            "ablation": {name: scores.to_json() for name, scores in self.ablation.items()},
            "per_supercategory": {name: found.to_json() for name, found in self.supercategories.items()},
            "per_category": {str(c.category.id): c.to_json() for c in self.per_category},
            "not_sampled": [
                {"id": n.category.id, "name": n.category.name, "instances": n.instances, "needed": n.needed}
                for n in self.not_sampled
            ],
            "left_out_instances": self.left_out,
            "mp100": self.coverage and self.coverage.to_json(),
            "missing_categories": [{"id": c.id, "name": c.name} for c in self.missing],
            "checkpoint": self.checkpoint,
            "config_hash": self.config_hash,
            "pairs_hash": self.pairs_hash,
            "weights_hash": self.weights_hash,
            "data_hash": self.data_hash,
            "epoch": self.epoch,
            "seen": self.seen and self.seen.to_json(),
            "comparison": self.comparison and self.comparison.to_json(),
            "pack": self.pack,
            "failures": self.failures.to_json(),
            "curves": {
                "threshold": list(CURVE),
                "predictor": self.curves[0].round(6).tolist(),
                "template": self.curves[1].round(6).tolist(),
            },
            "examples": {group: [each.to_json() for each in found] for group, found in self.examples.items()},
        }
