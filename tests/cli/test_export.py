"""`capetune export` but for the tracing, which takes long: tests/integration/test_export.py."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError
from capetune.prediction import exported


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_card_alone_is_written(untrained, tmp_path):
    done = run("export", untrained, "--format", "card", "--out", tmp_path / "new" / "MODEL.md")
    assert f"{tmp_path}/new/MODEL.md: the model card of {untrained}" in done.stdout
    text = (tmp_path / "new/MODEL.md").read_text()
    assert "## Licences" in text
    assert "```python" not in text
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["MODEL.md"]


def test_a_file_that_gives_something_else_is_refused_and_not_written(untrained, tmp_path, monkeypatch):
    def answer(given):
        joints = given[-1]
        return np.full((*joints.shape, 2), 1e4), np.full(joints.shape, 0.5)

    monkeypatch.setattr(exported, "write_exported", lambda traced, format, facts, file: file.write_bytes(b"wrong"))
    monkeypatch.setattr(exported, "open_exported", lambda file, format: answer)
    with pytest.raises(UserError, match=r"isn't the model: keypoints differ by up to [\d.e+]+ pixels"):
        run("export", untrained, "--out", tmp_path / "mine.pt2", "--keypoints", 9)
    assert list(tmp_path.iterdir()) == []


def test_onnx_that_isn_t_installed_is_said(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'capetune\[export\]', or --format torch"):
        run("export", untrained, "--format", "onnx", "--out", tmp_path / "mine.onnx")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--out", "mine.bin"), "--out mine.bin: call a file of --format torch something.pt2"),
        (("--format", "onnx", "--out", "mine.pt2"), "call a file of --format onnx something.onnx"),
        (("--out", "there.pt2"), "there.md is there already; remove it, or give another --out"),
        (("--out", "there.md/mine.pt2"), "can't write there.md/mine.pt2"),
        (("--out", "mine.pt2", "--scores", "none.json"), "--scores none.json: No such file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(untrained, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.md").touch()
    with pytest.raises(UserError) as raised:
        run("export", untrained, *words)
    assert line in str(raised.value)
    assert [file.name for file in tmp_path.iterdir()] == ["there.md"]


def test_a_model_that_looks_at_supports_has_a_card_only(looking, tmp_path):
    with pytest.raises(UserError, match=r"looks at the images of supports .*, and an exported file shows it none"):
        run("export", looking, "--out", tmp_path / "mine.pt2")
    assert list(tmp_path.iterdir()) == []
    assert run("export", looking, "--format", "card", "--out", tmp_path / "mine.md").exit_code == 0


def test_what_is_no_checkpoint_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no run 'nosuch' in runs"):
        run("export", "nosuch", "--out", "mine.pt2")
    with pytest.raises(UserError, match="is not a capetune checkpoint"):
        run("export", tmp_path, "--out", "mine.pt2")
    assert list(tmp_path.iterdir()) == []
