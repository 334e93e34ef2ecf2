"""`capetune serve` for real: asked by HTTP, by docs/predict.md's clients and in a browser, and ended by a signal."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import capetune
from capetune.prediction.template import Template

from .browser import browsing
from .conftest import Program

PAGE = (Path(__file__).parents[2] / "docs/predict.md").read_text().partition("## Over HTTP")[2]
PICTURES = range(4, 12)


def answered(url: str, token: str, asked: Any = None) -> tuple[int, Any]:
    data = None if asked is None else asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def announced(port: int, token: str, size: int) -> int:
    """What is answered to who only says how large his question would be."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/api/predict")
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def places(pose: dict[str, Any]) -> list[list[float]]:
    return [[k["x"], k["y"], 100 * k["score"]] for k in pose["keypoints"]]


def listening(program: Program) -> set[str]:
    """The addresses on which it and all processes below it listen."""
    found = set()
    for process in [psutil.Process(program.process.pid), *program.children()]:
        found |= {str(each.laddr.ip) for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}
    return found


@pytest.fixture
def folder(tmp_path: Path, tiny_root: Path) -> Path:
    """What docs/predict.md's clients find: pictures/, a template, a token."""
    (tmp_path / "pictures").symlink_to(tiny_root / "images/tiny88_body")
    Template.of([[0.1, 0.5], [0.9, 0.5], [0.4, 0.2]], [(0, 1)]).write(tmp_path / "thing.json")
    (tmp_path / "serve-token").write_text("only-for-this-test-0123456789\n")
    return tmp_path


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_model_is_served_to_programs_and_people_and_leaves_nothing(start, folder, untrained, temporary):
    token = (folder / "serve-token").read_text().strip()
    program = start("serve", untrained, "--port", 0, "--token-file", folder / "serve-token")
    said = re.search(r"page, with its token: (http://127\.0\.0\.1:(\d+)/)#token=(\S+)", program.wait_for("its token: "))
    assert said
    url, port = said[1], int(said[2])
    assert said[3] == token
    assert {address.removeprefix("::ffff:") for address in listening(program)} == {"127.0.0.1"}

    files = [folder / f"pictures/{number:03d}.jpg" for number in PICTURES]
    capetune.predict(images=files, template=folder / "thing.json", checkpoint=untrained, out=folder / "found")
    written = json.loads((folder / "found/poses.json").read_text())
    template = json.loads((folder / "thing.json").read_text())
    sent = [{"name": str(file), "data": base64.b64encode(file.read_bytes()).decode()} for file in files]
    asked = [{"template": template, "pictures": [picture]} for picture in sent]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda one: answered(f"{url}api/predict", token, one), asked))
    assert [status for status, _ in answers] == [200] * 8
    for (_, answer), pose in zip(answers, written["poses"], strict=True):
        (got,) = answer["poses"]
        np.testing.assert_allclose(places(got), places(pose), atol=1e-2)
        assert {**got, "keypoints": 0} == {**pose, "keypoints": 0}
        assert {**answer, "poses": 0} == {**written, "poses": 0}

    assert answered(f"{url}api/predict", "wrong", asked[0]) == (401, '{"detail":"Unauthorized"}')
    assert announced(port, token, 2**25 + 1) == 413
    broken = {"category": "tiny88", "pictures": [{"name": "b.jpg", "data": sent[0]["data"][:400]}]}
    assert answered(f"{url}api/predict", token, broken) == (422, '{"detail":"picture b.jpg: image unreadable"}')
    assert len(answered(f"{url}api/model", token)[1]["categories"]) == 14

    for kind, words in (("bash", ["bash", "-euo", "pipefail", "-c"]), ("python", [sys.executable, "-c"])):
        (code,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
        client = [*words, code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")]
        done = subprocess.run(client, cwd=folder, capture_output=True, text=True, timeout=60, env=dict(os.environ))
        assert done.returncode == 0, done.stderr
        assert '"name": "0"' in done.stdout.replace("'", '"')

    with browsing() as page:
        clicked(page, f"{url}#token={token}", files)
    program.signal(signal.SIGTERM)
    assert program.end() == 143
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    assert list(temporary.iterdir()) == []


def clicked(page, link: str, files: list[Path]) -> None:
    """A category in a drawn box, then a template placed by clicks that is taken to the next picture, and errors."""
    page.open(link)
    page.until("document.querySelectorAll('#category option').length === 14 && !!document.querySelector('#template *')")
    assert page.value("location.href").endswith("/")  # the token isn't in sight
    page.click("#find")
    assert page.value("document.querySelector('#error').textContent") == "choose a picture first"
    page.choose("#file", files[0])
    page.until("document.querySelector('#stage').getAttribute('aria-label') === '004.jpg'")
    page.value("scrollTo(0, 0)")
    x, y, width, height = page.box("#stage")
    page.drag(*((x + part * width, y + part * height) for part in (0.2, 0.5, 0.8)))
    drawn = page.value("[...document.querySelectorAll('#box input')].map((input) => parseFloat(input.value))")
    assert all(value > 10 for value in drawn)
    page.value("$('category').value = '90'; $('category').dispatchEvent(new Event('change'))")
    page.click("#find")
    page.until("document.querySelectorAll('#rows tr').length === 4")
    assert page.value("document.querySelectorAll('#drawn .point').length") == 4

    page.click("[name=source][value=placed]")
    page.value("scrollTo(0, 0)")
    x, y, width, height = page.box("#stage")
    for right, down in ((0.3, 0.3), (0.7, 0.4), (0.5, 0.8)):
        page.drag((x + right * width, y + down * height))
    assert page.value("document.querySelectorAll('#drawn .point').length") == 3
    page.click("#edges")
    page.type("0-1 1-7")
    page.enter()
    page.until("$('error').textContent === \"edge 1-7 isn't between two of the keypoints 0 to 2\"")
    page.value("$('edges').select()")
    page.type("0-1 1-2")
    page.choose("#file", files[1])
    page.until("document.querySelector('#stage').getAttribute('aria-label') === '005.jpg'")
    page.click("#find")
    page.until("document.querySelectorAll('#rows tr').length === 3")
    assert page.value("document.querySelectorAll('#drawn .edge').length") == 2
    assert page.said == []
    asked = page.value("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).host)")
    assert set(asked) == {page.value("location.host")}
    page.value("sessionStorage.setItem('token', 'wrong')")
    page.click("#find")
    page.until("!document.querySelector('#key').hidden")
