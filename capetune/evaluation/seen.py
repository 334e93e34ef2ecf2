"""What a model was scored on that it was trained on too: a score that it had the answers to says little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from capetune.pose import Instance, Part

NAMED = 5  # pictures


@dataclass(frozen=True)
class Seen:
    """Of what was scored, what stands in the model's train part. known: False where that can't be looked at any more.

    categories: names. pictures: how many, of `of_pictures`. examples: the first few pictures' names.
    """

    known: bool
    categories: tuple[str, ...] = ()
    of_categories: int = 0
    pictures: int = 0
    of_pictures: int = 0
    examples: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What a protocol's name must say of it; empty where all of it is unseen."""
        if not self.known:
            return "seen or unseen unknown"
        counts = [
            f"{seen} of {of} {what}"
            for what, seen, of in (
                ("categories", len(self.categories), self.of_categories),
                ("pictures", self.pictures, self.of_pictures),
            )
            if seen
        ]
        return f"trained on {' and '.join(counts)}" if counts else ""

    def to_json(self) -> dict[str, Any]:
        names = {"categories": list(self.categories), "examples": list(self.examples)}
        counts = {"of_categories": self.of_categories, "pictures": self.pictures, "of_pictures": self.of_pictures}
        return {"known": self.known, **names, **counts}


def overlap(trained: Sequence[Part], scored: Part) -> Seen:
    """trained: the train parts of all that the model was trained on, one after the other.

    A category is the same where its name and its keypoints' names are: ids are each data set's own. A picture is the
    same where its file's name and size are, or where its size and an instance's box and keypoints are, to the last
    digit: renamed, it is found by its annotation. Packs keep no sum of the pictures themselves."""
    known = {(c.name, c.graph.names) for part in trained for c in part.categories if part.instances[c.id]}
    there = [c for c in scored.categories if scored.instances[c.id]]
    groups = [group for part in trained for group in part.instances.values()]
    marks = {mark for group in groups for instance in group for mark in _marks(instance)}
    pictures: dict[str, bool] = {}
    for group in scored.instances.values():
        for instance in group:
            met = any(mark in marks for mark in _marks(instance))
            pictures[instance.file_name] = pictures.get(instance.file_name, False) or met
    names = [name for name, met in pictures.items() if met]
    return Seen(
        known=True,
        categories=tuple(c.name for c in there if (c.name, c.graph.names) in known),
        of_categories=len(there),
        pictures=len(names),
        of_pictures=len(pictures),
        examples=tuple(names[:NAMED]),
    )


def _marks(instance: Instance) -> tuple[tuple[Any, ...], ...]:
    size = instance.image_size
    return (instance.file_name, size), (size, instance.box.tobytes(), instance.xy.tobytes())
