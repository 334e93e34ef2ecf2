from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest

from capetune.errors import UserError
from capetune.evaluation.baselines import Template
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.predictions import FromFile, Kept

SHOTS, EPISODES, QUERIES = 2, 3, 4
WHOLE = 2 * EPISODES * QUERIES


@pytest.fixture
def part(make_part):
    return make_part({1: 20, 2: 30})


@pytest.fixture
def written(part):
    kept = Kept(Template(), QUERIES)
    evaluate(part, kept, SHOTS, EPISODES, QUERIES)
    return json.loads(b"".join(kept.pieces()))


def score(part, tree):
    return evaluate(part, FromFile(tree, "theirs.json", QUERIES), SHOTS, EPISODES, QUERIES)


def refused(part, tree):
    with pytest.raises(UserError) as error:
        score(part, tree)
    return str(error.value)


def test_there_and_back_every_digit_stays_in_whatever_order(part, written):
    assert len(written) == WHOLE
    again = score(part, written[::-1])
    first = evaluate(part, Template(), SHOTS, EPISODES, QUERIES)
    assert (again.scores, again.per_category, again.pairs_hash) == (first.scores, first.per_category, first.pairs_hash)


def test_an_entry_is_a_coco_result_that_tells_its_pair(part, written):
    entry = written[QUERIES]  # the first of the second episode
    assert (entry["category_id"], entry["episode"], len(entry["support_ids"])) == (1, 1, SHOTS)
    by_id = {instance.id: instance for instance in part.instances[1]}
    assert entry["image_id"] == by_id[entry["annotation_id"]].image_id
    assert set(entry["support_ids"]) <= by_id.keys() - {entry["annotation_id"]}
    assert len(entry["keypoints"]) == 3 * 4
    assert entry["keypoints"][2::3] == [1.0] * 4
    assert entry["score"] == 1


def test_other_predictions_score_otherwise(part, written):
    for entry in written:
        entry["keypoints"] = [x + 5 for x in entry["keypoints"]]
    assert score(part, written).scores.epe != evaluate(part, Template(), SHOTS, EPISODES, QUERIES).scores.epe


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"keypoints": [np.nan] * 12}, "1 not finite: annotation "),
        ({"keypoints": [1.0] * 11 + [np.inf]}, "1 not finite: "),
        ({"keypoints": [None] * 12}, "1 not finite: "),
        ({"keypoints": [1e300] * 12}, "1 not finite: "),
        ({"keypoints": [10**400] * 12}, "1 with keypoints that are no numbers: "),
        ({"keypoints": ["a"] * 12}, "1 with keypoints that are no numbers: "),
        ({"keypoints": [1.0] * 9}, "1 with another number of keypoints than the category's: "),
        ({"keypoints": 7}, "1 not of the format: entry 3 (support_ids and keypoints are lists)"),
        ({"episode": EPISODES}, f"1 of no pair that is asked for: annotation {{id}} (category 1, episode {EPISODES})"),
        ({"annotation_id": 5}, "1 of no pair that is asked for: annotation 5 (category 1, episode 0); 1 missing: "),
        ({"category_id": 9}, "1 of no pair that is asked for: annotation {id} (category 9, episode 0); 1 missing: "),
        ({"image_id": 5000}, "1 with another image or other supports than the pair's: annotation {id} "),
        ({"support_ids": [1, 2]}, "1 with another image or other supports than the pair's: annotation {id} "),
        ({"episode": 0.0}, "1 not of the format: entry 3 (ids and episode are whole numbers)"),
        ({"annotation_id": [1]}, "1 not of the format: entry 3 (ids and episode are whole numbers)"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(part, written, change, fault):
    id = written[2]["annotation_id"]
    written[2] |= change
    said = refused(part, written)
    assert said.startswith(f"theirs.json can't be scored on these {WHOLE} pairs: {fault.format(id=id)}")


def test_missing_and_twice_are_counted_and_the_first_few_named(part, written):
    names = [f"annotation {e['annotation_id']} (category 1, episode 0)" for e in written[:4]]
    assert f"4 missing: {', '.join(names[:3])}, …; one entry a pair is wanted" in refused(part, written[4:])
    assert f"4 there twice: {', '.join(names[:3])}, …" in refused(part, written + deepcopy(written[:4]))
    assert f"{WHOLE} missing" in refused(part, [])


def test_several_faults_are_all_said(part, written):
    del written[0]["episode"]
    written[1]["keypoints"][0] = np.nan
    said = refused(part, [*written, written[2], "x"])
    for fault in ("2 not of the format: entry 1 (no episode), entry 26 (no object)", "1 not finite", "1 there twice"):
        assert fault in said


def test_what_is_no_list_is_refused(part):
    assert "theirs.json is no list of predictions" in refused(part, {"annotations": []})
