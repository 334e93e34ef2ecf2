"""Bad input is one line on stderr and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from capetune.config import Config, load_preset
from capetune.datasets.packs.reader import open_pack
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.history import add_to_history
from capetune.training.checkpoint import save_checkpoint

# All rows run in one process, one after the other: importing torch and Ray for each would take minutes.
BATCH = """
import contextlib, io, json, sys
from capetune.cli.main import run
for line in sys.stdin:
    sys.argv = ["capetune", *json.loads(line)]
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run()
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""
DEMO = "--preset demo --set model.backbone.weights=none"

# What is typed → what the line says. {…} are the fixtures below.
ROWS = {
    "data check --annotations nowhere": "nowhere",
    "data check --annotations empty": "no mp100_split{1..5}_{train,val,test}.json",
    "data check --annotations broken": "mp100_split1_test.json",
    "data pack --annotations empty --images empty --out made": "no mp100_split{1..5}_{train,val,test}.json",
    "data pack --annotations broken --images empty --out made": "mp100_split1_test.json",
    "data pack --annotations {tiny}/annotations --images nowhere --out made": "nowhere is not a folder",
    "data pack --annotations {tiny}/annotations --images {tiny}/images --out taken": "taken exists already",
    "data show {pack} --category zebra --out made.png": "zebra",
    "data show empty --out made.png": "empty is not a capetune pack",
    "data show {pack} --part test --out made.png": "--part wants --split",
    "eval --predictor template --split 1 --annotations {tiny}/annotations --json /": "give --json a file",
    "config --preset huge": "there is no preset 'huge'; there are demo, full, paper, tiny",
    "config --set model.decoder.layer=4": "did you mean 'model.decoder.layers'?",
    "config --set model.decoder.layers": "--set wants key=value",
    "config --set model.decoder.layers=many": "model.decoder.layers: Input should be a valid integer",
    "config --set model.decoder=4": "'model.decoder' is a section",
    "config --config nowhere.yaml": "can't read nowhere.yaml",
    "config --config list.yaml": "list.yaml must be a mapping",
    "config --config torn.yaml": "torn.yaml, line 3: not valid YAML",
    "search --resume none --runs held": "there is no search 'none' in held (there: found)",
    "search --resume found --runs held": "held/found/config.yaml is not there: found ended before its first trial",
    "search --resume found --runs held --preset demo --set seed=1": "leave out --preset, --set",
    "promote none --runs held": "there is no search 'none' in held",
    "promote found --runs held --splits 0-9": "search 'found' has no best configuration yet",
    "runs show none --runs held": "there is no run 'none' in held (there: ",
    "space show misspelt.yaml": "misspelt.yaml, line 2: model.decoder.layer: there is no configuration key",
    "train --rank 2": "--rank says which trial of a search to train: give --best, --from or --longer too",
    "search": "what is to be searched? give --space FILE (`capetune space list` names built-in ones)",
    "search --space decodr.yaml": "there is no search space decodr.yaml; did you mean decoder.yaml?",
    "search --space misspelt.yaml": "misspelt.yaml, line 2: model.decoder.layer: there is no configuration key "
    "'model.decoder.layer'; did you mean 'model.decoder.layers'?",
    "search --space list.yaml": "list.yaml: a search space maps keys to ranges",
    "search --space torn.yaml": "torn.yaml, line 3: not valid YAML",
    "search --space clash.yaml --preset demo": "values that don't go together, such as model.width=",
    f"search --space losses --set loss.coordinates=50 {DEMO}": "lies outside log [1, 20]; widen the range",
    f"search --space losses {DEMO} --data nowhere": "nowhere doesn't exist; make a pack",
    f"search --space losses {DEMO} --data cut": "shard-00003.tar has 100 bytes",
    f"search --space losses {DEMO} --data {{pack}} --name a/b": "'a/b' can't be a run's name",
    f"search --space losses {DEMO} --data {{pack}} --name ..": "'..' can't be a run's name",
    f"search --space losses {DEMO} --data {{pack}} --name taken --runs .": "taken exists already; choose another",
    f"search --space losses {DEMO} --data {{pack}} --runs list.yaml": "list.yaml is not a folder",
    f"search --space losses {DEMO} --data {{pack}} --address ray://here:1": "ray:// is not supported",
    f"search --space losses {DEMO} --data {{pack}} --set model.backbone.weights=no.pth": "no.pth",
    f"search --space losses {DEMO} --data {{pack}} --split 9": "--split",
    f"search --space losses {DEMO} --data {{pack}} --set validation.queries=20": "give --set validation.queries=19,",
    f"train {DEMO} --data {{pack}} --set validation.queries=20": "give --set validation.queries=19, or pack more",
    f"train {DEMO} --data {{pack}} --workers 9": "8 shards can't feed 9 readers",
    f"train {DEMO} --data {{pack}} --set data.workers=3 --workers 3": "8 shards can't feed 9 readers",
    f"train {DEMO} --data {{pack}} --wrkers 2": "No such option: --wrkers",
    f"train decoder-1 {DEMO}": "capetune train --best decoder-1",
    "train --best": "no search in runs has a best configuration yet",
    "train --best --runs held": "no search in held has a best configuration yet",
    "train --best unheard": "there is no search 'unheard' in runs (there: none yet)",
    "train --best --config part.yaml": "--best and --config both",
    "train --best --from ours": "--best and --from each say what to begin with: give one",
    "train --longer ours --preset demo": "--longer and --preset both say what to train",
    "train --from none --runs held": "there is no run 'none' in held",
    "train --from ours --rank 2": "--rank says which trial of a search: ours is none",
    "train --from ours --data {pack} --set model.width=64": "is the checkpoint's, but model.width was 32, not 64",
    "train --from ours --data {pack} --split 2": "has seen categories that split 2 tests; give --split 1",
    "train --longer ours --data {pack} --set train.epochs=1": "ours is of epoch 1 already; give more with --set",
    "train --best --preset demo": "--best and --preset both",
    "train --best other --runs held": "'other' is no search, it was made by `capetune train`",
    f"train {DEMO} --data {{pack}} --runs held --name found": "held/found was made by `capetune search`; choose",
    f"train {DEMO} --data {{pack}} --runs held --name other": "holds a run of another configuration or other data",
    "eval --split 1": "there is no checkpoint in runs; train one",
    "eval --split 1 --checkpoint empty": "empty is not a capetune checkpoint (no meta.json)",
    "eval --split 1 --checkpoint foreign": "foreign is not a capetune checkpoint (meta.json has no format",
    "eval --split 1 --checkpoint short --data {pack}": "short/model.safetensors is damaged: it has 1000 bytes of",
    "eval --split 2 --checkpoint ours --data {pack}": "ours was trained on split 1: it may have seen categories",
    "eval --split 1 --predictor template --annotations empty": "no mp100_split{1..5}_{train,val,test}.json",
    "evaluate": "No such command 'evaluate'. Did you mean 'eval', 'template'?",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_pack: Path) -> Path:
    """Where the rows are typed."""
    folder = tmp_path_factory.mktemp("typed")
    for name in ("empty", "broken", "foreign", "taken", "held"):
        (folder / name).mkdir()
    (folder / "taken/file").write_text("")
    (folder / "broken/mp100_split1_test.json").write_text('{"images": [')
    (folder / "list.yaml").write_text("- 1\n- 2\n")
    (folder / "torn.yaml").write_text("model:\n  width: [1, 2\nloss: 3\n")
    (folder / "part.yaml").write_text("loss: {tokens: 2}\n")
    (folder / "misspelt.yaml").write_text("loss.tokens: {log: [0.1, 1]}\nmodel.decoder.layer: {int: [2, 6]}\n")
    (folder / "clash.yaml").write_text("model.width: {choice: [96, 128]}\nmodel.heads: {choice: [8, 24]}\n")
    shutil.copytree(tiny_pack, folder / "cut")
    os.truncate(folder / "cut/shard-00003.tar", 100)
    (folder / "foreign/meta.json").write_text('{"model": "resnet"}')
    small = load_preset("demo").with_overrides({"model.width": 32, "model.backbone.weights": "none"})
    _save(folder / "ours", small, tiny_pack)
    shutil.copytree(folder / "ours", folder / "short")
    os.truncate(folder / "short/model.safetensors", 1000)
    for name, kind in (("found", "search"), ("other", "train")):
        run = {"capetune": "run", "kind": kind, "state": "interrupted", "config_hash": "0", "pack": "elsewhere"}
        (folder / "held" / name).mkdir()
        (folder / "held" / name / "run.json").write_text(json.dumps(run))
    add_to_history(folder / "held/other", {"epoch": 1})
    return folder


def _save(folder: Path, config: Config, pack: Path) -> None:
    data = {"pack": str(pack), "data": "real", "split": 1, "data_hash": open_pack(pack).fingerprint}
    meta = CheckpointMeta(config, 1, {"mpck4": 0.1}, data)
    save_checkpoint(folder, PoseEstimator(config.model), meta, {})


@pytest.fixture(scope="module")
def outcomes(folder: Path, tiny_pack: Path, tiny_root: Path) -> dict[str, list[Any]]:
    """Row → exit code, stdout, stderr and the paths that the row made."""
    environment = {**os.environ, "CAPETUNE_CACHE": str(folder.parent / "cache")}
    for name in ("RAY_ADDRESS", "CAPETUNE_DEBUG"):
        environment.pop(name, None)
    before = set(folder.glob("**/*"))
    batch = subprocess.Popen(
        [sys.executable, "-c", BATCH],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert batch.stdin is not None
    assert batch.stdout is not None
    found = {}
    for row in ROWS:
        batch.stdin.write(json.dumps(row.format(pack=tiny_pack, tiny=tiny_root).split()) + "\n")
        batch.stdin.flush()
        answer = json.loads(batch.stdout.readline())
        now = set(folder.glob("**/*"))
        found[row] = [*answer, sorted(str(path.relative_to(folder)) for path in now - before)]
        before = now
    batch.stdin.close()
    assert batch.wait(60) == 0
    return found


@pytest.mark.parametrize("row", ROWS)
def test_bad_input_is_one_line_with_its_cure_and_exit_code_2(row: str, outcomes: dict[str, list[Any]]) -> None:
    code, out, err, made = outcomes[row]
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    assert ROWS[row] in err
    assert code == 2
    assert "Traceback" not in out
    assert made == []
