"""The application asked as by HTTP, without Ray: who may ask, what is answered, what is refused and with which code."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from capetune.serving.app import build_app
from capetune.serving.page import page
from capetune.serving.wire import BODY, About
from capetune.serving.work import predicted

TOKEN = "a-token-for-the-tests"


@pytest.fixture
def client(model, templates):
    async def predict(prepared):
        return predicted(model, [prepared])[0]

    about = About(checkpoint="runs/mine", epoch=3, weights_hash="0a", size=64, calibrated=True, categories=[])
    return TestClient(build_app(TOKEN, about, templates, model, predict), headers={"Authorization": f"Bearer {TOKEN}"})


def test_a_question_is_answered_in_the_format_of_poses_json(client, picture, templates):
    said = client.post("/api/predict", json={"category": "fly", "pictures": [picture(4)]})
    assert said.status_code == 200
    found = said.json()
    assert set(found) == {"checkpoint", "epoch", "weights_hash", "left_out", "template", "poses"}
    assert len(found["poses"][0]["keypoints"]) == 3
    assert client.get("/api/templates/7").json() == found["template"] == templates["7"].to_json()
    assert client.get("/api/model").json()["limits"]["body"] == BODY


@pytest.mark.parametrize("given", [None, "Bearer wrong", TOKEN, "Bearer ", f"Basic {TOKEN}", "Bearer é"])
def test_without_the_token_nothing_is_answered_and_nothing_explained(client, given):
    client.headers.pop("Authorization")
    headers = {} if given is None else {"Authorization": given.encode()}
    for path in ("/api/model", "/api/templates/7", "/api/nothing", "/docs"):
        said = client.get(path, headers=headers)
        assert (said.status_code, said.json()) == (401, {"detail": "Unauthorized"})
    said = client.post("/api/predict", content=b"{", headers=headers)
    assert (said.status_code, said.json()) == (401, {"detail": "Unauthorized"})


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"{", 422, "JSON decode error"),
        (b"[" * 100_000, 400, "error parsing the body"),
        (b"[]", 422, "Input should be a valid dictionary"),
        (b'{"pictures": []}', 422, "pictures: List should have at least 1 item"),
        (b'{"pictures": [{"data": ""}]}', 422, "what is to be found? give one of category and template"),
        (b'{"pictures": [{"data": ""}], "category": "fly"}', 422, "picture 0: image unreadable"),
        (b'{"pictures": [{"data": ""}], "categry": "fly"}', 422, "categry: Extra inputs are not permitted"),
        (b'{"pictures": [{"data": "", "boxes": [[1, 2, 3]]}]}', 422, "pictures.0.boxes.0: List should have at least 4"),
        (b'{"pictures": [{"data": "", "boxes": [[1, 2, 3, NaN]]}]}', 422, "pictures.0.boxes.0.3: Input should be"),
        (b'{"pictures": [{"data": ""}], "template": {"xy": 1}}', 422, "template.format: Field required"),
        (b" " * (BODY + 1), 413, "Content Too Large"),
    ],
)
def test_bad_input_is_one_line(client, body, status, line):
    said = client.post("/api/predict", content=body, headers={"Content-Type": "application/json"})
    assert said.status_code == status
    assert line in said.text
    assert "\n" not in said.text


def test_a_body_of_unsaid_length_is_cut_off_too(client):
    pieces = (b" " * 2**20 for _ in range(BODY // 2**20 + 1))
    said = client.post("/api/predict", content=pieces, headers={"Content-Type": "application/json"})
    assert (said.status_code, said.json()) == (413, {"detail": "Content Too Large"})


def test_the_page_and_its_description_need_no_token_and_no_other_server(client):
    client.headers.pop("Authorization")
    said = client.get("/")
    assert (said.status_code, said.text) == (200, page())
    assert "connect-src 'self'" in said.headers["Content-Security-Policy"]
    assert not [word for word in ("src=", "@import", "https://", "/* page.") if word in said.text]
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/api/model", "/api/templates/{category}", "/api/predict"}
    asked = described["paths"]["/api/predict"]["post"]
    assert asked["security"] == [{"HTTPBearer": []}]
    assert set(asked["responses"]) == {"200", "401", "413", "422"}
    assert "http" not in json.dumps(described).replace("HTTPBearer", "").replace('"http"', "")
