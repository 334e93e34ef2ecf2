"""Where MP-100's pictures come from: for each download its page, its licence, its layout, what goes wrong with it.

The facts stand in sources/*.yaml. They are those of the sources' own READMEs and of the official preparation guide
(Xu et al. 2022, Pose for Everything).
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from capetune.errors import UserError
from capetune.yaml12 import read_yaml

FOLDER = Path(__file__).parent / "sources"


class Recipe(BaseModel):
    """One download. get: what, from whom. layout: where one of its pictures lies in it. traps: what goes wrong with it.

    places: by category's folder, patterns of how the path ends of a folder that holds its pictures. elsewhere: folders
    of the download with other pictures of the same names. telling: no other data set has pictures of such names.
    labels: pattern of the files' names whose labels tell which picture is meant, "" where names do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    page: str
    get: str
    licence: str
    layout: str
    traps: tuple[str, ...]
    places: dict[str, tuple[str, ...]]
    elsewhere: tuple[str, ...] = ()
    telling: bool = False
    labels: str = ""

    def holds(self, folder: tuple[str, ...], category: str) -> bool | None:
        """Whether a folder, its path's parts in lower case, is where the pictures of a category lie; None where that
        can't be told, False where those of another category or other pictures of the same names do."""
        if ends_like(folder, self.places.get(category, ())):
            return True
        others = [*self.elsewhere, *(pattern for patterns in self.places.values() for pattern in patterns)]
        return False if ends_like(folder, tuple(others)) else None


def ends_like(folder: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Whether a path's parts, in lower case, end as one of the patterns does."""
    for pattern in patterns:
        parts = pattern.casefold().split("/")
        if len(folder) >= len(parts) and all(map(fnmatchcase, folder[-len(parts) :], parts)):
            return True
    return False


@cache
def recipes() -> dict[str, Recipe]:
    """By name, all of them."""
    read = [Recipe.model_validate(read_yaml(path)) for path in sorted(FOLDER.glob("*.yaml"))]
    return {recipe.name: recipe for recipe in read}


@cache
def recipe_of(category: str) -> Recipe | None:
    """The recipe of a category's folder, None where it isn't MP-100's."""
    return next((recipe for recipe in recipes().values() if category in recipe.places), None)


def named_sources(options: list[str]) -> dict[str, Path]:
    """Of `--source NAME=PATH` the folder of each. Raises UserError, with the nearest right name, where one is none."""
    found: dict[str, Path] = {}
    names = {name.casefold(): name for name in recipes()}
    for option in options:
        name, equals, path = option.partition("=")
        if not equals or not path:
            raise UserError(f"--source {option}: write NAME=PATH, such as AP-10K=downloads/ap-10k")
        if name.casefold() not in names:
            near = difflib.get_close_matches(name.casefold(), names, 1, 0.3)
            cure = f"did you mean {names[near[0]]}?" if near else f"take one of {', '.join(names.values())}"
            raise UserError(f"--source {option}: there is no source {name!r}; {cure}")
        if not Path(path).is_dir():
            raise UserError(
                f"--source {option}: {path} is not a folder; give the one that the download was unpacked in"
            )
        if names[name.casefold()] in found:
            raise UserError(f"--source {option}: {name} is given twice; give the folder above both")
        found[names[name.casefold()]] = Path(path)
    return found
