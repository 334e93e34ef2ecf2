"""The page of an evaluation, of real results on a small pack."""

from __future__ import annotations

import base64
import json
import re
from contextlib import ExitStack
from html import unescape

import cv2
import numpy as np
import pytest
import torch
from markupsafe import escape

from capetune.datasets.episodes.templates import UNKNOWN, normalise
from capetune.datasets.packs.crop import apply, crop_affine, source_to_unit, warp_crop
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.evaluation.baselines import Template
from capetune.evaluation.pair_batch import pair_batch
from capetune.evaluation.protocol import OTHERS
from capetune.evaluation.support import Shown
from capetune.models.looked import watched
from capetune.prediction.model import load_best
from capetune.reports.evaluated import SIDE, read_result, show
from capetune.reports.evaluated_page import GROUPS, LARGEST, MEANINGS, TITLES, scored_model, write_report
from capetune.training.checkpoint import weights_hash


@pytest.fixture
def shown(scored):
    result = read_result(scored.file)
    return result, show(result, scored.file, scored.pack)


def test_every_group_has_its_pairs_on_pictures_of_the_query(shown, scored):
    result, groups = shown
    assert {name: len(found) for name, found in groups.items()} == {
        name: len(found) for name, found in result["examples"].items()
    }
    for example, pair in zip(result["examples"]["worst"], groups["worst"], strict=True):
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(pair.picture), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (SIDE, SIDE, 3)
        query = scored.pack.row(example["annotation_id"]).instance
        affine = crop_affine(query.box, SIDE)
        np.testing.assert_allclose(pair.truth, apply(affine, query.xy))
        predicted = np.array(example["keypoints"]).reshape(-1, 2)
        np.testing.assert_allclose(pair.predicted, apply(affine, predicted))


def test_the_template_of_a_pair_is_that_of_its_own_supports(shown, scored):
    result, groups = shown
    example, pair = result["examples"]["best"][0], groups["best"][0]
    group = [scored.pack.row(id).instance for id in (example["annotation_id"], *example["support_ids"])]
    wanted = Template().predict(pair.category, group, np.array([[1]]), np.array([0]))[0]
    np.testing.assert_allclose(pair.template, apply(crop_affine(group[0].box, SIDE), wanted))
    assert (pair.counts == (group[0].visible & group[1].visible)).all()


def test_a_planted_exchange_is_shown_as_such(shown):
    result, groups = shown
    assert groups["exchanged"]
    assert all(pair.missed["exchanged"] for pair in groups["exchanged"])
    assert all(sum(pair.missed.values()) == pair.off.sum() for pair in groups["exchanged"])
    assert result["failures"]["kinds"]["exchanged"] > 0


def test_the_page_has_every_picture_once_its_protocol_and_what_kinds_mean(scored):
    lines = write_report(read_result(scored.file), scored.file, scored.pack)
    page = scored.file.with_suffix(".html")
    content = page.read_text()
    pictures = sum(map(len, json.loads(scored.file.read_text())["examples"].values()))
    assert content.count("data:image/jpeg;base64,") == pictures > 20
    assert page.stat().st_size < 10_000_000
    protocol = f"split 1 test, 1-shot, sampled as officially, 2 episodes of 5 queries a category, {OTHERS}, real data"
    assert content.count(str(escape(protocol))) >= 4
    assert lines[0].startswith(f"{protocol}: model mPCK4 0.")
    assert "template 0." in lines[0]
    for words in (*TITLES.values(), *(heading for heading, _ in GROUPS.values())):
        assert words in content
    for meaning in MEANINGS.values():
        assert meaning.replace("'", "&#39;") in content
    assert [file.name for file in page.parent.iterdir() if ".html" in file.name] == [page.name]


def test_where_the_model_looked_is_on_the_page_in_pixels_of_each_picture(scored, untrained):
    result, model = read_result(scored.file), load_best(untrained)
    groups = show(result, scored.file, scored.pack, model)
    for example, pair in zip(result["examples"]["worst"], groups["worst"], strict=True):
        query, support = (scored.pack.row(id).instance for id in (example["annotation_id"], *example["support_ids"]))
        template = np.where(support.visible[:, None], normalise(support), UNKNOWN)
        told = Shown(template[None], support.visible[None], pair.category.graph.adjacency())
        pixels = warp_crop(scored.pack.crop(query.id, 64), source_to_unit(query.box), 64)
        crop = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        with watched(model.estimator) as watch, torch.inference_mode():
            model.estimator.predict(pair_batch([(told, [query])]), model.estimator.backbone(crop))
        places, weights = watch.looked(pair.category.graph.size)
        np.testing.assert_allclose(pair.looked[..., :2], places[0] * SIDE, atol=0.01)
        np.testing.assert_allclose(pair.looked[..., 2], weights[0], atol=1e-5)
    write_report(result, scored.file, scored.pack, model=model)
    told = re.findall(r'data-looked="([^"]*)"', scored.file.with_suffix(".html").read_text())
    assert len(told) == sum(map(len, groups.values()))
    pair = next(iter(groups.values()))[0]
    first = json.loads(unescape(told[0]))
    assert [name for name, _ in first] == [n for n, c in zip(pair.category.graph.names, pair.counts, strict=True) if c]
    circles = np.reshape(first[0][1], (-1, 3))
    np.testing.assert_allclose(circles[:, :2], pair.looked[pair.counts][0, :, :2], atol=0.06)
    np.testing.assert_allclose((circles[:, 2] / LARGEST) ** 2, pair.looked[pair.counts][0, :, 2], atol=0.02)


def test_a_model_that_isn_t_there_or_has_other_weights_isn_t_looked_through_and_that_is_said(scored, untrained):
    result = read_result(scored.file)
    with ExitStack() as ends:
        assert scored_model(result, ends) == (None, [])  # no model was scored
        own = {"checkpoint": str(untrained), "weights_hash": weights_hash(untrained)}
        model, more = scored_model(result | own, ends)
        assert (model.meta.epoch, more) == (3, [])
        model, (line,) = scored_model(result | own | {"weights_hash": "0" * 12}, ends)
        assert (model, line.endswith("epoch-0003 has other weights now")) == (None, True)
        model, (line,) = scored_model(result | own | {"checkpoint": str(untrained / "gone")}, ends)
        assert model is None
        assert line.startswith("the page doesn't show where the model looked: ")


def test_names_of_categories_are_text(scored):
    tree = json.loads(scored.file.read_text())
    for row in tree["per_category"].values():
        row["name"] = "</script><b>odd & 'more'"
    scored.file.write_text(json.dumps(tree))
    write_report(read_result(scored.file), scored.file, scored.pack)
    assert not re.search("</script><b>odd", scored.file.with_suffix(".html").read_text())


def test_another_pack_s_pictures_are_refused(scored, tmp_path):
    tree = json.loads(scored.file.read_text())
    scored.file.write_text(json.dumps(tree | {"pairs_hash": "0" * 12}))
    with pytest.raises(UserError, match=r"was scored on other pairs than .* has \(000000000000, .*: give --data"):
        write_report(read_result(scored.file), scored.file, scored.pack)
    assert not scored.file.with_suffix(".html").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"annotation_id": 1},
        {"category_id": 1},
        {"keypoints": [1.0]},
        {"support_ids": []},
        {"keypoints": [float("nan")] * 14},
    ],
)
def test_examples_of_no_pair_are_refused(scored, change):
    tree = json.loads(scored.file.read_text())
    tree["examples"]["best"][0] |= change
    scored.file.write_text(json.dumps(tree))
    with pytest.raises(UserError, match="write it anew by `capetune eval --json`"):
        show(read_result(scored.file), scored.file, open_pack(scored.pack.address))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.pop("examples"), "is odd: examples is missing: no result that a report can be made of"),
        (lambda tree: tree.update(mpck4="high"), "is odd: mpck4 should be a valid number"),
        (lambda tree: tree.update(failures=3), "is odd: failures should be"),
    ],
)
def test_a_result_that_lacks_something_is_refused_by_name(scored, change, said):
    tree = json.loads(scored.file.read_text())
    change(tree)
    scored.file.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=re.escape(said)):
        read_result(scored.file)
