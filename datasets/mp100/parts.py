"""Which pictures are to train on, which to validate, which to test: what `split` and `pack --coco` share.

No picture is ever in two parts, whatever categories it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from capetune.datasets.mp100.findings import Finding
from capetune.errors import UserError
from capetune.pose import PARTS, Instance

TRAIN, VAL = 0.7, 0.1  # shares: of the pictures that aren't for testing, and of those held out for validation
EPISODE = 16  # instances that an official episode takes: one support, 15 queries
FEWEST = 10  # categories of which a tenth is one
SEED = 0
SEVERAL_PARTS = "picture with categories of several parts"


def picture(file_name: str) -> str:
    """One name for all spellings of a path."""
    return str(PurePosixPath(file_name))


def by_pictures(
    pictures: Mapping[int, Collection[str]], train: float = TRAIN, val: float | None = None
) -> dict[str, str]:
    """The part of each picture. pictures: by category; those of each are put in the order of their names.

    The first `train` share of a category's pictures are for training, the last `val` share of all among these held out
    of it for validation, the rest is for testing. val: None = a tenth, or as many as an official episode takes as far
    as that is a fifth of them. A picture that shows several categories goes where the first of them puts it.
    """
    part_of: dict[str, str] = {}
    for names in pictures.values():
        wanted = dict(zip(PARTS, _sizes(len(names), train, val), strict=True))
        free = []
        for name in sorted(names):
            if name in part_of:
                wanted[part_of[name]] -= 1
            else:
                free.append(name)
        first = min(max(0, wanted["train"]), len(free))
        last = len(free) - min(max(0, wanted["test"]), len(free) - first)
        part_of |= {name: "train" for name in free[:first]}
        part_of |= {name: "val" for name in free[first:last]}
        part_of |= {name: "test" for name in free[last:]}
    return part_of


def _sizes(count: int, train: float, val: float | None) -> tuple[int, int, int]:
    """Pictures to train on, to validate, to test."""
    last = round(count * train)
    if val is not None:
        first = round(count * (train - val))
    else:
        held = max(round(count * VAL), min(EPISODE, max(2, count // 5)))
        first = last - min(held, last // 2)
    return first, last - first, count - last


def in_several_parts(instances: Sequence[Instance], part_of: Callable[[Instance], str]) -> Iterator[Finding]:
    """The instances on pictures of which others are in another part."""
    parts: dict[str, set[str]] = {}
    for instance in instances:
        parts.setdefault(picture(instance.file_name), set()).add(part_of(instance))
    for instance in instances:
        if len(parts[picture(instance.file_name)]) > 1:
            yield Finding(instance.category_id, SEVERAL_PARTS, instance.id, instance.file_name)


def enough_categories(counts: Mapping[int, int]) -> bool:
    """Whether a split by categories makes sense. counts: instances, by category."""
    return len(counts) >= FEWEST and _able(counts) >= sum(_held(len(counts)))


def by_categories(counts: Mapping[int, int], otherwise: str) -> dict[int, str]:
    """The part of each category, as MP-100 has it: a fifth to test, a tenth to validate, drawn from those that can
    hold an official episode. counts: instances, by category. otherwise: the option that splits in another way. Raises
    UserError where these are too few."""
    tested, validated = _held(len(counts))
    if _able(counts) < tested + validated:
        raise UserError(
            f"a split by categories needs {tested} to test and {validated} to validate with the {EPISODE} instances of "
            f"an episode, and others to train on; of {len(counts)} here {_able(counts)} can: label more, or give "
            f"{otherwise}"
        )
    able = [id for id in sorted(counts) if counts[id] >= EPISODE]
    drawn = np.random.default_rng(SEED).permutation(able).tolist()
    part_of = dict.fromkeys(drawn[:tested], "test") | dict.fromkeys(drawn[tested : tested + validated], "val")
    return {id: part_of.get(id, "train") for id in counts}


def _held(count: int) -> tuple[int, int]:
    """Categories to test and to validate."""
    return max(1, round(count / 5)), max(1, round(count / 10))


def _able(counts: Mapping[int, int]) -> int:
    return sum(count >= EPISODE for count in counts.values())


def advice(validation: Iterable[int]) -> str | None:
    """What has to be set where no category of the val part can hold an official episode. validation: how many
    instances each of its categories has."""
    largest = max(validation, default=0)
    if 1 < largest < EPISODE:
        return (
            f"an episode of validation can have {largest - 1} queries here, not {EPISODE - 1}: "
            f"search and train with --set validation.queries={largest - 1}"
        )
    return None
