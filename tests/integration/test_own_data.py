"""docs/own-data.md, typed as it stands there but for shorter epochs, on 60 real frames of a fly."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from capetune.runs.history import read_history
from capetune.runs.record import read_run

from .machines import NOT_NICE

PAGE = (Path(__file__).parents[2] / "docs/own-data.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]

STEPS = 10  # an epoch, of three: a tenth of the page's, which are what takes it ahead of the template


@pytest.mark.deploy  # long as it is
@pytest.mark.timeout(1800)
def test_the_page_s_commands_lead_from_labels_to_scores(place, temporary, real_images):
    shutil.copy(real_images / "annotations/mp100_split1_test.json", place / "exported.json")
    (place / "pictures").symlink_to(real_images / "images")
    environment = {**os.environ, "HOME": str(place.parent / "home"), "TMPDIR": str(temporary), **NOT_NICE}
    out = {}
    for command in COMMANDS:
        name, *words = shlex.split(command.replace("train.steps=100", f"train.steps={STEPS}"))
        assert name == "capetune"
        typed = [sys.executable, "-m", "capetune", *words]
        done = subprocess.run(typed, cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        out[" ".join(words[:2])] = done.stdout.splitlines()
    assert list(out) == ["data pack", "data show", "data verify", "train --preset", "eval --split", "train --from"]
    told = [line for line in out["data pack"] if "categories of MP-100" not in line]  # this fly is one of them
    assert all(line in PAGE for line in told)
    assert json.loads((place / "shards/manifest.json").read_text())["left_out"] == {}
    history = read_history(place / "runs/mine")
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    tuned = read_run(place / "runs/tuned")
    assert tuned is not None
    assert tuned.facts["origin"]["named"] == "mine"
    assert [row["epoch"] for row in read_history(place / "runs/tuned")] == [1, 2]
    best = tuned.best()
    assert best is not None
    assert [each["checkpoint"] for each in best[1].data["before"]] == [tuned.facts["origin"]["checkpoint"]]
