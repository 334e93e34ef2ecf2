"""Questions answered without HTTP: what is refused, and that a batch of several says what each alone would."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from capetune.errors import UserError
from capetune.prediction.template import Template
from capetune.serving import work
from capetune.serving.wire import Found, Question
from capetune.serving.work import TooLarge, answer, predicted, prepare


def test_questions_of_several_templates_in_one_batch_are_answered_as_each_alone(model, templates, picture, tiny_root):
    asked = [
        Question(category="7", pictures=[picture(4), picture(5, boxes=[[10, 10, 40, 40], [5, 5, 50, 60]])]),
        Question(category="8", pictures=[picture(6)]),
        Question(template=Template.of([[0.2, 0.2]]).to_json(), pictures=[picture(7)]),
    ]
    prepared = [prepare(question, templates, model) for question in asked]
    together = predicted(model, prepared)
    for one, poses in zip(prepared, together, strict=True):
        (alone,) = predicted(model, [one])
        np.testing.assert_allclose(poses.xy, alone.xy, atol=1e-3)
        np.testing.assert_allclose(poses.score, alone.score, atol=1e-4)
    files = [tiny_root / f"images/tiny88_body/{number:03d}.jpg" for number in (5, 5)]
    straight = model.predict(files, templates["7"], [[10, 10, 40, 40], [5, 5, 50, 60]])
    np.testing.assert_allclose(together[0].xy[1:], straight.xy, atol=1e-3)
    assert [poses.xy.shape for poses in together] == [(3, 3, 2), (1, 2, 2), (1, 1, 2)]


def test_more_than_a_batch_is_answered_in_several(model, templates, picture, monkeypatch):
    sizes = []
    whole = model.predict_groups
    monkeypatch.setattr(model, "predict_groups", lambda groups: sizes.append(len(groups)) or whole(groups))
    monkeypatch.setattr(model, "batch_size", 2)
    one = prepare(Question(category="7", pictures=[picture(4)]), templates, model)
    assert len(predicted(model, [one] * 5)) == 5
    assert sizes == [2, 2, 1]


def test_an_answer_is_what_predict_writes(model, templates, picture):
    prepared = prepare(Question(category="fly", pictures=[picture(4, boxes=[[-5, 10, 400, 40]])]), templates, model)
    (poses,) = predicted(model, [prepared])
    facts = {"checkpoint": "runs/mine", "epoch": 3, "weights_hash": "0a", "left_out": {}}
    found = Found.model_validate_json(answer(prepared, poses, facts))
    (pose,) = found.poses
    assert (pose.image, pose.object, pose.box[0]) == ("004.jpg", 0, 0.0)  # clipped
    assert [keypoint.name for keypoint in pose.keypoints] == ["0", "1", "2"]
    assert found.template["category"] == "fly"


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({}, "what is to be found? give one of category and template"),
        ({"category": "fli"}, "there is no category 'fli'; the nearest is 'fly'"),
        ({"category": "beak"}, "several categories are named 'beak'; give an id"),
        ({"category": "7", "template": Template.of([[0, 0]]).to_json()}, "give one of category and template"),
        ({"template": Template.of([[0, 0]]).to_json() | {"edges": [[0, 4]]}}, "edge 0-4 isn't between two"),
    ],
)
def test_what_can_t_be_found_is_refused(asked, line, model, templates, picture):
    with pytest.raises(UserError) as raised:
        prepare(Question(pictures=[picture(4)], **asked), templates, model)
    assert line in str(raised.value)


def test_pictures_that_can_t_be_used_are_named(model, templates, picture):
    whole = base64.b64decode(picture(4)["data"])
    for data, line in ((b"", "unreadable"), (b"%!PS-Adobe-3.0 EPSF", "unreadable"), (whole[:300], "unreadable")):
        asked = {"name": "b.jpg", "data": base64.b64encode(data).decode()}
        with pytest.raises(UserError, match=rf"^picture b\.jpg: image {line}"):
            prepare(Question(category="7", pictures=[picture(4), asked]), templates, model)
    with pytest.raises(UserError, match="picture 0: its data is no base64"):
        prepare(Question(category="7", pictures=[{"data": "a$b="}]), templates, model)
    with pytest.raises(UserError, match=r"picture 004\.jpg: box 500,0,5,5 has no pixels"):
        prepare(Question(category="7", pictures=[picture(4, boxes=[[500, 0, 5, 5]])]), templates, model)
    with pytest.raises(UserError, match=r"two pictures are named '004\.jpg'"):
        prepare(Question(category="7", pictures=[picture(4), picture(4)]), templates, model)


def test_what_is_too_large_is_refused_before_it_is_decoded(model, templates, picture, monkeypatch):
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    monkeypatch.setattr(work, "read_picture", lambda _: pytest.fail("it was decoded"))
    asked = {"data": base64.b64encode(file.getvalue()).decode()}
    with pytest.raises(TooLarge, match="picture 0: it has 9000×9000 pixels; up to 40000000 are taken"):
        prepare(Question(category="7", pictures=[asked]), templates, model)
    with pytest.raises(TooLarge, match="65 boxes are asked for at once; ask for up to 64"):
        prepare(Question(category="7", pictures=[picture(4, boxes=[[0, 0, 9, 9]] * 65)]), templates, model)
    many = Template.of(np.linspace(0, 1, 402).reshape(201, 2)).to_json()
    with pytest.raises(TooLarge, match="the template has 201 keypoints; up to 200"):
        prepare(Question(template=json.loads(json.dumps(many)), pictures=[picture(4)]), templates, model)


def test_a_picture_is_the_right_way_up(model, encoded):
    image = np.zeros((20, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(file, "JPEG", exif=exif)
    turned = work.decoded(Question.model_validate(asking(file.getvalue())).pictures[0])
    assert turned.shape == (40, 20, 3)
    plain = Question.model_validate({"category": "7", "pictures": [{"data": encoded(image)}]}).pictures[0]
    assert work.decoded(plain).shape == (20, 40, 3)


def asking(data: bytes) -> dict:
    return {"category": "7", "pictures": [{"data": base64.b64encode(data).decode()}]}
