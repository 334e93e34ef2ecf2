"""docs/predict.md, typed as it stands there, on small pictures and a model that has learnt nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from capetune.prediction.template import Template

from .machines import NOT_NICE

PAGE = (Path(__file__).parents[2] / "docs/predict.md").read_text().partition("## Over HTTP")[0]
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.long
def test_the_page_s_commands_lead_from_labels_to_keypoints(tmp_path, tiny_root, untrained):
    labels = json.loads((tiny_root / "annotations/mp100_split1_test.json").read_text())
    labels["annotations"] = [entry for entry in labels["annotations"] if entry["category_id"] == 88]
    labels["images"] = [image for image in labels["images"] if image["file_name"].startswith("tiny88")]
    (tmp_path / "exported.json").write_text(json.dumps(labels))
    (tmp_path / "pictures").symlink_to(tiny_root / "images/tiny88_body")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mine").symlink_to(untrained)
    environment = {**os.environ, "HOME": str(tmp_path / "home"), **NOT_NICE}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for command in COMMANDS:
        name, *words = shlex.split(command)
        assert name == "capetune"
        said = run("-m", "capetune", *words)
    assert "20 poses of 8 keypoints in 18 of 18 pictures" in said
    assert len(list((tmp_path / "found/drawn").iterdir())) == 18
    assert Template.read(tmp_path / "beak.json").graph.names == ("tip", "middle", "root")
    assert run("-c", CODE).startswith("(2, 8, 2) 0.")
