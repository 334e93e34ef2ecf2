"""A template: what a model is told of a category, as a small file that a program or a hand can write, too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NotRequired

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from capetune.config import SupportConfig
from capetune.datasets.episodes.templates import UNKNOWN, mean_template, normalise
from capetune.errors import UserError
from capetune.pose import Crop, Instance, PoseGraph
from capetune.runs.document import Odd, read_checked
from capetune.storage.whole import write_aside

CURE = "`capetune template make` writes one"
FARTHEST = 10.0  # box sides: what lies farther off is no place of a pose, but pixels that nobody has put into a box

Place = Annotated[float, Field(allow_inf_nan=False, ge=-FARTHEST, le=FARTHEST)]


class TemplateTree(TypedDict):
    """What a template's file holds. xy: null where nobody knows the keypoint's place. edges: numbers of keypoints, from
    0."""

    format: Literal["capetune-template"]
    schema: Literal[1]
    category: str
    names: Annotated[list[str], Field(min_length=1)]
    xy: list[Annotated[list[Place], Field(min_length=2, max_length=2)] | None]
    edges: list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]]
    made_of: NotRequired[str]


_FILE = TypeAdapter(TemplateTree)


@dataclass(frozen=True, eq=False)
class Template:
    """category: its name. xy: float64 (K, 2) in units of an object's box, (0, 0) its top left corner, (1, 1) its bottom
    right one; 0.5 where known, bool (K,), is False. made_of: what it was made of, in words. supports: the instances
    it was made of and pixels around each, where these are at hand; a file holds none.
    """

    category: str
    graph: PoseGraph
    xy: np.ndarray
    known: np.ndarray
    made_of: str = ""
    supports: tuple[tuple[Crop, Instance], ...] = ()

    @classmethod
    def of(
        cls,
        xy: ArrayLike,
        edges: Iterable[Sequence[int]] = (),
        names: Sequence[str] | None = None,
        category: str = "",
        made_of: str = "",
    ) -> Template:
        """xy: (K, 2) in units of the object's box; NaN where a keypoint's place isn't known. edges: pairs of keypoints'
        numbers, from 0. names: of the keypoints; None: their numbers. Raises UserError where these don't fit together.
        """
        try:
            places = np.array(xy, dtype=np.float64)
            pairs = [(int(i), int(j)) for i, j in edges]
        except (TypeError, ValueError):
            raise UserError(
                "a template is K pairs of numbers, x and y in units of a box, and edges, pairs of whole numbers"
            ) from None
        if places.ndim != 2 or places.shape[1] != 2 or not len(places):
            raise UserError(f"a template's places are of shape (K, 2), not {places.shape}")
        count = len(places)
        names = tuple(str(k) for k in range(count)) if names is None else tuple(names)
        if len(names) != count:
            raise UserError(f"a template of {count} keypoints has {len(names)} names; give one for each")
        wrong = next((pair for pair in pairs if pair[0] == pair[1] or not all(0 <= i < count for i in pair)), None)
        if wrong is not None:
            raise UserError(f"edge {wrong[0]}-{wrong[1]} isn't between two of the keypoints 0 to {count - 1}")
        known = ~np.isnan(places[:, 0] + places[:, 1])
        if not known.any():
            raise UserError("a template needs the place of one keypoint at least")
        if (abs(places[known]) > FARTHEST).any():
            raise UserError(
                "a template's places are in units of the object's box, 0 to 1 inside it; these lie far outside: "
                "are they pixels? Divide by the box first"
            )
        graph = PoseGraph(names, tuple(sorted({(min(pair), max(pair)) for pair in pairs})))
        return cls(category, graph, np.where(known[:, None], places, UNKNOWN), known, made_of)

    @classmethod
    def of_instances(cls, category: str, graph: PoseGraph, instances: Sequence[Instance], made_of: str) -> Template:
        """The mean of their poses, each in its own box, as supports are shown to a model in training and evaluation.

        Raises UserError where none of them shows a keypoint.
        """
        visible = np.stack([instance.visible for instance in instances])
        xy, known = mean_template(np.stack([normalise(instance) for instance in instances]), visible)
        if not known.any():
            raise UserError(f"{made_of}: no keypoint is visible; a template needs one at least")
        return cls(category, graph, xy, known, made_of)

    def check_seen_by(self, config: SupportConfig) -> None:
        """Raises UserError where a model looks at images of supports, and this template hasn't any."""
        if config.looks and not self.supports:
            raise UserError(
                f"this model looks at the images of supports (model.support.source={config.source}), and the template "
                "has none: give --category NAME, of the pack it was trained on or of --data PACK, or take a model that "
                "was trained with model.support.source=geometry"
            )

    def shrunk(self, instances: Sequence[Instance]) -> float:
        """How far its keypoints spread, as a share of how far those of the instances do that it is the mean of."""

        def spread(xy: np.ndarray, seen: np.ndarray) -> float:
            return float(np.sqrt(xy[seen].var(axis=0).sum()))

        own = [spread(normalise(each), each.visible) for each in instances if each.visible.any()]
        return spread(self.xy, self.known) / max(float(np.mean(own)), 1e-9)

    @classmethod
    def read(cls, file: Path) -> Template:
        """Raises UserError where the file is no template's."""
        try:
            tree: TemplateTree = read_checked(file, _FILE)
        except FileNotFoundError:
            raise UserError(f"{file}: there is no such template; {CURE}") from None
        except Odd as odd:
            raise UserError(f"{file} {odd}: no template; {CURE}") from None
        try:
            return cls.of_tree(tree)
        except UserError as error:
            raise UserError(f"{file}: {error}") from None

    @classmethod
    def of_tree(cls, tree: TemplateTree) -> Template:
        """Of what `to_json` gives. Raises UserError where its parts don't fit together."""
        xy = [(np.nan, np.nan) if place is None else place for place in tree["xy"]]
        return cls.of(xy, tree["edges"], tree["names"], tree["category"], tree.get("made_of", ""))

    def to_json(self) -> TemplateTree:
        """What `read` and `of_tree` read."""
        return {
            "format": "capetune-template",
            "schema": 1,
            "category": self.category,
            "made_of": self.made_of,
            "names": list(self.graph.names),
            "xy": [place if known else None for place, known in zip(self.xy.tolist(), self.known, strict=True)],
            "edges": [list(edge) for edge in self.graph.edges],
        }

    def write(self, file: Path) -> None:
        """Raises UserError where it can't be written."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_aside(file, json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n")
        except OSError as error:
            raise UserError(f"can't write {file}: {error.strerror or error}") from None
