from __future__ import annotations

import pytest

from capetune.datasets.mp100.catalogue import MP100
from capetune.datasets.mp100.recipes import named_sources, recipe_of, recipes
from capetune.errors import UserError


def test_the_recipes_have_the_categories_of_the_catalogue_each_once():
    told = {folder: recipe.name for recipe in recipes().values() for folder in recipe.places}
    assert told == {entry.folder: entry.source for entry in MP100.values()}
    assert sum(len(recipe.places) for recipe in recipes().values()) == len(MP100)


def test_every_place_is_a_folder_of_the_layout():
    for recipe in recipes().values():
        assert recipe.page.startswith("http")
        folder = recipe.layout.split(",")[0].casefold().split("/")[:-1]
        held = [recipe.holds(tuple(folder), category) for category in recipe.places]
        inside = {"AFLW": "aflw/data", "300W": "300w/images"}.get(recipe.name)  # the rest of the path is MP-100's too
        assert any(held) or recipe.labels or (inside and inside in "/".join(folder)), recipe.name


def test_a_place_of_another_category_is_no_place():
    recipe = recipe_of("bed")
    assert recipe is not None
    assert recipe.holds(("data", "bed", "images"), "bed") is True
    assert recipe.holds(("data", "sofa", "images"), "bed") is False
    assert recipe.holds(("data", "mine"), "bed") is None
    assert recipe_of("gadget") is None


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("AP-10K", "write NAME=PATH"),
        ("AP10K={here}", "there is no source 'AP10K'; did you mean AP-10K?"),
        ("qqq={here}", "there is no source 'qqq'; take one of 300W, AFLW"),
        ("COCO={here}/nowhere", "nowhere is not a folder"),
    ],
)
def test_a_wrong_source_is_named_with_its_cure(option, said, tmp_path):
    with pytest.raises(UserError, match="--source") as error:
        named_sources([option.format(here=tmp_path)])
    assert said in str(error.value)


def test_a_source_is_given_once_in_any_case_of_letters(tmp_path):
    assert named_sources([f"ap-10k={tmp_path}", f"COCO={tmp_path}"]) == {"AP-10K": tmp_path, "COCO": tmp_path}
    with pytest.raises(UserError, match="given twice"):
        named_sources([f"ap-10k={tmp_path}", f"AP-10K={tmp_path}"])
