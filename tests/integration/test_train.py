from __future__ import annotations

import json
import shutil
import signal

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.datasets.packs.reader import open_pack
from capetune.runs.history import read_history
from capetune.runs.record import read_run

from .conftest import typed

pytestmark = pytest.mark.timeout(900)


@pytest.mark.long
def test_an_interrupted_training_goes_on_with_the_same_command_and_survives_a_lost_worker(
    start, place, tiny_pack, monkeypatch
):
    """SIGTERM, then a worker killed, then all of it killed at once, then the end: each epoch once."""
    # Two ranks and 5 queries: the validation's pairs can't be shared evenly.
    alone = ("train", "--data", tiny_pack, "--name", "kept")
    both = (*alone, "--workers", 2)  # how many there are may change on the way
    epochs = {"train.epochs": 20, "train.steps": 4}
    folder = place / "runs/kept"

    program = start(*alone, set_=epochs)
    program.wait_for("epoch 1/20")
    program.signal(signal.SIGTERM, group=True)
    assert program.end() == 143
    assert program.err == ["error: interrupted"]
    assert program.out[-1] == "go on with it: run the same command again"
    assert _state(folder) == "interrupted"
    done = len(read_history(folder))
    assert 1 <= done < 20

    program = start(*both, set_=epochs)
    program.wait_for("going on after epoch")
    program.wait_for(f"epoch {done + 1}/20")
    workers = [process for process in program.children() if "RayTrainWorker" in " ".join(process.cmdline())]
    assert len(workers) == 2
    before = len(read_history(folder))
    workers[1].kill()
    program.wait_for(f"epoch {before + 2}/20")
    program.kill()
    assert program.end() == -signal.SIGKILL
    assert _state(folder) == "running"

    program = start(*alone, set_=epochs)
    assert program.end() == 0, program.err
    assert program.err == []
    assert _state(folder) == "completed"
    history = read_history(folder)
    assert [row["epoch"] for row in history] == list(range(1, 21))
    assert not [line for line in program.out if line.startswith("epoch 1/")]
    kept = {path.name for path in folder.glob("epoch-*")}
    assert "epoch-0020" in kept
    assert len(kept) <= 2  # the best and the latest
    best = program.out[-3].split()  # best: epoch 17, val mPCK4 …: of equal epochs either may have been kept
    epoch = int(best[2].rstrip(","))
    assert history[epoch - 1]["mpck4"] == max(row["mpck4"] for row in history)
    meta = json.loads((folder / f"epoch-{epoch:04.0f}/meta.json").read_text())
    assert meta["config"]["model"]["width"] == 32
    assert meta["metrics"]["mpck4"] == history[epoch - 1]["mpck4"]

    before = (folder / "run.json").read_text()
    monkeypatch.chdir(place)
    again = CliRunner().invoke(app, typed(*alone, set_=epochs))
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[0] == (
        "run kept is complete already; --name starts another, --set train.epochs=… goes on"
    )
    assert (folder / "run.json").read_text() == before


def test_a_loss_that_is_no_number_is_one_line_and_exit_code_2(start, place, tiny_pack):
    wild = {"train.learning_rate": "1e28", "train.epochs": 5}
    program = start("train", "--data", tiny_pack, "--name", "wild", set_=wild)
    assert program.end() == 2
    assert len(program.err) == 1
    assert program.err[0].startswith("error: the loss became nan at learning rate 1e+28; lower it")
    assert _state(place / "runs/wild") == "failed"


@pytest.fixture
def spoilt(tiny_pack, tmp_path):
    """A pack of which two train samples are zeros, and their ids."""
    folder = shutil.copytree(tiny_pack, tmp_path / "spoilt")
    pack = open_pack(folder)
    train = {instance.id for group in pack.part(1, "train").instances.values() for instance in group}
    rows = [row for row in pack.rows if row.instance.id in train][::100]
    for row in rows:
        with (folder / pack.manifest.shards[row.shard].name).open("r+b") as file:
            file.seek(row.offset)
            file.write(bytes(row.length))
    return folder, [row.instance.id for row in rows]


SEARCH = pytest.param(("search", "--space", "losses", "--trials", 1), marks=pytest.mark.deploy)  # long as it is


@pytest.mark.long
@pytest.mark.parametrize("words", [("train",), SEARCH])
def test_spoilt_samples_are_counted_in_the_history_and_named_or_end_it(start, place, spoilt, words):
    pack, ids = spoilt
    name = f"spoilt-{words[0]}"
    once = {
        "train.steps": 12,
        "train.batch_size": 20,
        "train.epochs": 2,
        "data.max_corrupt": 0.01,
    }  # 200 samples: all are seen
    program = start(*words, "--data", pack, "--name", name, set_=once)
    assert program.end() == 0, program.err
    (line,) = [line for line in (*program.out, *program.err) if "left out of training" in line]
    assert f"2 train samples of {pack} can't be read, left out of training: " in line
    assert all(f"{id} (shard-0" in line for id in ids)
    (history,) = (place / "runs" / name).glob("**/history.jsonl")
    assert [row["corrupt"] for row in read_history(history.parent)] == [2, 2]

    program = start(*words, "--data", pack, "--name", f"{name}-strict", set_=once | {"data.max_corrupt": 0})
    assert program.end() == 2
    assert "is damaged at instance" in program.err[-1]


def _state(folder):
    run = read_run(folder)
    assert run is not None
    return run.state
