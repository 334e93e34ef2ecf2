"""What `serve` refuses before it imports torch or starts Ray."""

from __future__ import annotations

import socket

import pytest

from capetune.errors import UserError
from capetune.events import Doubted
from capetune.service.serve import Server, ServeRequest, _templates, served


def refused(**asked) -> str:
    with pytest.raises(UserError) as raised, served(ServeRequest.of(**asked)):
        pass
    return str(raised.value)


def test_a_port_that_is_taken_is_refused(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"can't listen on 127.0.0.1, port {port}: Address already in use" in refused(port=port)
    assert "can't listen on 203.0.113.1" in refused(host="203.0.113.1", port=0)


def test_a_token_that_could_be_guessed_is_refused(tmp_path):
    (tmp_path / "token").write_text("short\n")
    assert "a token is one word of 16 characters at least" in refused(port=0, token_file=tmp_path / "token")
    assert "can't read the token in" in refused(port=0, token_file=tmp_path / "none")


def test_a_run_that_isn_t_there_is_refused(tmp_path):
    assert "there is no run 'nosuch'" in refused(port=0, checkpoint="nosuch", runs=tmp_path)
    assert "there is no checkpoint in" in refused(port=0, runs=tmp_path)
    assert "is not a capetune checkpoint" in refused(port=0, checkpoint=tmp_path)


def test_a_model_that_looks_at_supports_is_refused(looking):
    assert "and capetune serve shows it none" in refused(checkpoint=looking, port=0)


def test_a_pack_s_categories_have_templates_and_one_that_is_gone_is_said(tiny_pack, tmp_path):
    found = _templates(ServeRequest.of(), str(tiny_pack), lambda _: None)
    assert list(found) == [str(id) for id in range(87, 101)]
    assert found["88"].made_of.startswith("5 instances of tiny88 in ")
    heard = []
    assert _templates(ServeRequest.of(), str(tmp_path / "gone"), heard.append) == {}
    assert [type(event) for event in heard] == [Doubted]
    with pytest.raises(UserError):
        _templates(ServeRequest.of(data=str(tmp_path / "gone")), str(tiny_pack), heard.append)


def test_a_link_keeps_its_token_in_the_browser():
    server = Server("http://127.0.0.1:8000/", "secret")
    assert server.link == "http://127.0.0.1:8000/#token=secret"
    assert "secret" not in repr(server)
