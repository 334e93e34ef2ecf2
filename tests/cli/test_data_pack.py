import json
import shutil

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError


def run(*arguments):
    return CliRunner().invoke(app, ["data", "pack", *map(str, arguments)])


@pytest.fixture
def root(tiny_root, tmp_path):
    return shutil.copytree(tiny_root, tmp_path / "root")


def folders(root):
    return "--annotations", root / "annotations", "--images", root / "images"


def test_packs_and_says_what(tiny_root, tmp_path):
    result = run(*folders(tiny_root), "--out", tmp_path / "out", "--size", 96, "--shards", 5)
    assert result.exit_code == 0, result.output
    assert "280 instances of 14 categories from 252 images in 5 shards" in result.stdout
    assert "split 1: train 200 of 200, val 40 of 40, test 40 of 40" in result.stdout
    assert result.stderr == ""
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["size"], len(manifest["shards"])) == (96, 5)


def test_what_is_left_out_is_warned_of(root, tmp_path):
    shutil.rmtree(root / "images/tiny88_body")
    (root / "images/tiny90_body/004.jpg").write_bytes(b"")
    result = run(*folders(root), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "warning: image missing: 18 images with 20 instances: tiny88_body/000.jpg, tiny88_body/001" in result.stderr
    assert "and 15 more" in result.stderr
    assert "warning: image unreadable: 1 image with 1 instance: tiny90_body/004.jpg" in result.stderr
    assert "warning: no image at all of 1 category: tiny88 (88)" in result.stderr
    assert "split 1: train 200 of 200, val 39 of 40, test 20 of 40" in result.stdout


def test_strict_refuses(root, tmp_path):
    (root / "images/tiny90_body/004.jpg").unlink()
    result = run(*folders(root), "--out", tmp_path / "out", "--strict")
    assert isinstance(result.exception, UserError)
    assert "images missing: 1 of 252" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_annotation_files(tmp_path):
    result = run("--annotations", tmp_path, "--images", tmp_path, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert "no mp100_split" in str(result.exception)
