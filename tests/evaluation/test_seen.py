from __future__ import annotations

from dataclasses import replace

from capetune.evaluation.baselines import Center
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.seen import Seen, overlap
from capetune.pose import Part


def renamed(part: Part) -> Part:
    groups = {
        id: tuple(replace(i, file_name=f"x{i.file_name}", id=i.id + 7) for i in group)
        for id, group in part.instances.items()
    }
    return replace(part, instances=groups)


def test_nothing_in_common_is_unseen(make_part):
    train, test = make_part({1: 5, 2: 5}), make_part({3: 4})
    moved = {3: tuple(replace(i, xy=i.xy + 1) for i in test.instances[3])}
    seen = overlap([train], replace(test, instances=moved))
    assert (seen.categories, seen.of_categories, seen.pictures, seen.of_pictures) == ((), 1, 0, 4)
    assert seen.words == ""


def test_pictures_are_known_by_name_and_size_or_by_their_annotation(make_part):
    part = make_part({1: 5})
    by_name = {1: tuple(replace(i, xy=i.xy + 1) for i in part.instances[1])}
    assert overlap([part], replace(part, instances=by_name)).pictures == 5
    found = overlap([part], renamed(part))
    assert found.pictures == 5
    assert found.examples[0] == "xfolder_1/0.jpg"
    other_size = {1: tuple(replace(i, image_size=(64, 48)) for i in part.instances[1])}
    assert overlap([part], replace(part, instances=other_size)).pictures == 0


def test_a_category_without_a_trained_instance_is_unseen(make_part):
    part = make_part({1: 5, 2: 0})
    assert overlap([part], make_part({1: 3, 2: 3})).categories == ("category 1",)


def test_of_a_model_that_was_trained_twice_all_counts(make_part):
    seen = overlap([make_part({1: 2}), make_part({3: 2})], make_part({1: 3, 2: 3, 3: 3}))
    assert seen.categories == ("category 1", "category 3")


def test_a_report_names_it_and_is_not_official_then(make_part, make_mp100):
    part = make_part({1: 16, 2: 16}, part="val")
    report = evaluate(part, Center(), 1, 100)
    half = overlap([make_part({1: 16})], part)
    assert report.known(half, part).protocol == (
        "sampled as officially, 100 episodes of 15 queries a category, categories that are not MP-100's, "
        "trained on 1 of 2 categories and 16 of 32 pictures"
    )
    assert report.known(half, part).to_json()["seen"]["categories"] == ["category 1"]
    mp100 = make_mp100("val")
    assert report.known(Seen(known=False), mp100).protocol.endswith("a category, seen or unseen unknown")
    assert report.known(Seen(known=True, of_pictures=32), mp100).protocol == "official"
