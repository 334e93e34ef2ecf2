from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.config import load_preset
from capetune.errors import UserError
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.history import add_to_history
from capetune.runs.home import at_work
from capetune.runs.record import Run, read_run
from capetune.runs.results import trial_folder
from capetune.training.checkpoint import save_checkpoint


class Weights:
    """Stands for a model where only the files count."""

    def state_dict(self):
        return {"weight": torch.zeros(2)}


def runs(*arguments):
    return CliRunner().invoke(app, ["runs", *map(str, arguments)], catch_exceptions=False)


def train(root, name, score, **settings):
    config = load_preset("demo").with_overrides(settings)
    folder = root / name
    row = {"epoch": 1, "mpck4": score, "template_mpck4": 0.3, "forced_mpck4": score, "train_loss": 1.0, "val_loss": 1.0}
    save_checkpoint(folder / "epoch-0001", Weights(), CheckpointMeta(config, 1, row, {}), {})
    add_to_history(folder, row | {"seconds": 3.0})
    facts = {"data": "real", "split": 3, "pack": "p", "missing_categories": {"test": ["fly", "horse"]}}
    Run(folder, "train", "completed").save("completed", config_hash=config.hash(), **facts)


@pytest.fixture
def root(tmp_path):
    train(tmp_path, "one", 0.5)
    train(tmp_path, "two", 0.6, **{"loss.tokens": 0.7})
    return tmp_path


def test_runs_are_listed_with_state_score_hash_data_and_what_is_missing(root):
    rows = json.loads(runs("--runs", root, "--json").stdout)
    assert {row["name"]: row["mpck4"] for row in rows} == {"one": 0.5, "two": 0.6}
    lines = runs("--runs", root).stdout.splitlines()
    assert lines[0].split()[:5] == ["run", "kind", "state", "val", "mPCK4"]
    one = next(line for line in lines if line.startswith("one")).split()
    assert one[:5] == ["one", "train", "completed", "0.500", "0.300"]
    assert one[5] == load_preset("demo").hash()
    assert one[6:10] == ["real,", "split", "3", "2"]


def test_names_are_whole_in_a_file_or_a_pipe(tmp_path):
    name = "decoder-" + "of-a-long-name-" * 6
    train(tmp_path, name, 0.5)
    row = next(line for line in runs("--runs", tmp_path).stdout.splitlines() if line.startswith("decoder-"))
    assert row.split()[0] == name
    assert row.split()[2] == "completed"


def test_no_runs_are_said(tmp_path):
    assert runs("--runs", tmp_path / "none").stdout.startswith("no runs in ")


def test_a_run_that_was_killed_does_not_run(root):
    Run(root / "cut", "train", "running").save("running")
    state = {row["name"]: row["state"] for row in json.loads(runs("--runs", root, "--json").stdout)}
    assert state["cut"] == "cut off"
    with at_work(root / "cut"):
        state = {row["name"]: row["state"] for row in json.loads(runs("--runs", root, "--json").stdout)}
    assert state["cut"] == "running"


def test_one_run_is_shown_with_its_epochs(root):
    out = runs("show", "one", "--runs", root).stdout
    assert 'missing_categories: {"test": ["fly", "horse"]}' in out
    assert out.splitlines()[-1].split() == ["1", "0.500", "0.300", "0.500", "1.000", "1.000", "3"]
    assert json.loads(runs("show", "one", "--runs", root, "--json").stdout)["history"][0]["mpck4"] == 0.5


def test_a_run_says_how_much_of_mp100_it_had_and_an_older_one_does_not(root):
    missing = [{"id": 84, "name": "bed"}, {"id": 1, "name": "skirt"}]
    run = read_run(root / "one")
    run.save("completed", mp100={"there": 98, "of": 100, "missing": missing})
    line = "mp100: 98 of 100 categories of MP-100; missing: DeepFashion2 (skirt), Keypoint-5 (bed)"
    assert line in runs("show", "one", "--runs", root).stdout.splitlines()
    assert json.loads(runs("show", "one", "--runs", root, "--json").stdout)["mp100"]["missing"] == missing
    assert "mp100" not in runs("show", "two", "--runs", root).stdout


def test_two_runs_differ_in_what_differs(root):
    assert json.loads(runs("diff", "one", "two", "--runs", root, "--json").stdout) == {
        "mpck4": [0.5, 0.6],
        "loss.tokens": [0.2, 0.7],
    }
    assert "loss.tokens  0.2  0.7" in runs("diff", "one", "two", "--runs", root).stdout
    train(root, "third", 1 / 3)
    assert runs("diff", "two", "third", "--runs", root).stdout.splitlines()[1].split() == ["mpck4", "0.6", "0.333333"]
    train(root, "again", 0.5)
    assert "have the same configuration" in runs("diff", "one", "again", "--runs", root).stdout


def test_scores_of_another_protocol_are_not_compared(root):
    train(root, "long", 0.4, **{"validation.episodes": 50})
    assert "they can't be compared" in runs("diff", "one", "long", "--runs", root).stdout
    assert "they can't be compared" not in runs("diff", "one", "two", "--runs", root).stdout


def test_a_run_that_is_not_there_is_said_with_those_that_are(root):
    with pytest.raises(UserError, match=r"there is no run 'three' in .* \(there: "):
        runs("show", "three", "--runs", root)


def test_a_promotion_is_shown_with_its_tables_and_not_compared(root):
    Run(root / "one-promoted", "promote", "completed").save("completed", search="one", data="real")
    row = {"shots": 5, "jobs": 2, "done": 2, "splits": {"3": 0.5}, "mpck4": 0.5, "template": 0.4, "interval": 0.07}
    table = {"splits": [3], "shots": [5], "seeds": 2, "protocol": "official pairs", "rows": [row]}
    (root / "one-promoted" / "promotion.json").write_text(json.dumps({"tables": [table]}))
    lines = runs("show", "one-promoted", "--runs", root).stdout.splitlines()
    assert "official pairs of the test parts:" in lines
    assert lines[-1].split() == ["5", "0.500", "0.500", "0.070", "0.400", "2/2"]
    assert not [line for line in lines if line.endswith("None")]
    assert json.loads(runs("show", "one-promoted", "--runs", root, "--json").stdout)["tables"] == [table]
    with pytest.raises(UserError, match="one-promoted is a promotion: it has many scores; see `capetune runs show"):
        runs("diff", "one", "one-promoted", "--runs", root)


def test_a_search_is_shown_with_the_hash_of_its_best(root):
    train(root, "three", 0.5)
    Run(root / "three", "train", "completed").save("completed", config_hash="of trial 0")
    assert (
        json.loads(runs("show", "three", "--runs", root, "--json").stdout)["config_hash"] == load_preset("demo").hash()
    )


@pytest.mark.parametrize("text", ['{"run": 3}', "[]", "null", '{"capetune": "walk", "kind": "train"}'])
def test_what_other_programs_keep_among_the_runs_is_passed_over(root, text):
    (root / "odd").mkdir()
    (root / "odd" / "run.json").write_text(text)
    assert {row["name"] for row in json.loads(runs("--runs", root, "--json").stdout)} == {"one", "two"}


def test_a_run_that_says_little_is_listed_and_shown(root):
    (root / "odd" / "trials").mkdir(parents=True)
    record = {"capetune": "run", "kind": "search", "state": "failed", "started": None}
    (root / "odd" / "run.json").write_text(json.dumps(record))
    (root / "odd" / "results.json").write_text(json.dumps({"trials": [{"number": 3}]}))
    (root / "odd" / "history.jsonl").write_text('{"epoch": 1}\n')
    line = next(line for line in runs("--runs", root).stdout.splitlines() if line.startswith("odd"))
    assert line.split() == ["odd", "search", "failed", "–", "–", "–", "–", "0", "–"]
    assert runs("show", "odd", "--runs", root).stdout.splitlines()[-1].split() == ["3", *["–"] * 7]
    (root / "odd" / "results.json").unlink()
    assert runs("show", "odd", "--runs", root).stdout.splitlines()[-1].split() == ["1", *["–"] * 6]
    assert runs("diff", "odd", "one", "--runs", root).exit_code == 0


def test_a_checkpoint_that_can_not_be_read_hides_no_run(root):
    (root / "one" / "epoch-0001" / "meta.json").write_text("{")
    out = runs("--runs", root).stdout
    assert [line.split()[3:5] for line in out.splitlines() if line.startswith(("one", "two"))] == [
        ["–", "–"],
        ["0.600", "0.300"],
    ]
    assert f"warning: one: {root}/one/epoch-0001 is not a capetune checkpoint (meta.json is cut or no JSON" in out
    assert "is not a capetune checkpoint" in runs("show", "one", "--runs", root).stdout


def test_the_words_of_the_tables_are_explained(root):
    said = "mPCK4: mean of PCK at .05, .10, .15, .20; template: the supports' mean pose itself, on the same pairs"
    assert runs("--runs", root).stdout.splitlines()[-1] == said
    assert said in runs("show", "one", "--runs", root).stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ('{"capetune": "run", "ki', "is cut or no JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"capetune": "run"}', "is odd: kind is missing"),
        ('{"capetune": "run", "kind": "deploy", "state": "running"}', "is odd: kind should be"),
        ('{"capetune": "run", "kind": "train", "state": {}}', "is odd: state should be"),
        ('{"capetune": "run", "kind": "train", "state": "failed", "split": "3"}', "is odd: split should be"),
    ],
)
def test_a_damaged_record_is_listed_and_hides_no_other(root, text, why):
    (root / "one" / "run.json").write_text(text)
    rows = {row["name"]: row for row in json.loads(runs("--runs", root, "--json").stdout)}
    assert (rows["one"]["state"], rows["one"]["mpck4"], rows["two"]["mpck4"]) == ("damaged", None, 0.6)
    out = runs("--runs", root).stdout
    assert f"warning: one: {root}/one/run.json {why}" in out
    assert next(line for line in out.splitlines() if line.startswith("one")).split()[:3] == ["one", "–", "damaged"]
    with pytest.raises(
        UserError, match=r"one/run.json is .*; `capetune runs mend one --runs .*` makes it anew"
    ) as said:
        runs("show", "one", "--runs", root)
    assert "\n" not in str(said.value)


def test_a_record_that_is_gone_is_missed(root):
    (root / "two" / "run.json").unlink()
    assert f"warning: two: {root}/two/run.json is not there; `capetune runs mend two" in runs("--runs", root).stdout
    with at_work(root / "two"):  # it begins, and has none yet
        assert "warning" not in runs("--runs", root).stdout


def test_a_record_is_mended(root):
    text = (root / "one" / "run.json").read_text()
    (root / "one" / "run.json").write_text(text[:40])
    out = runs("mend", "one", "--runs", root).stdout.splitlines()
    assert out[0] == f"made anew: {root}/one/run.json"
    assert [line.split(":")[0] for line in out[1:]] == ["lost"]
    assert (root / "one" / "run.json.damaged").read_text() == text[:40]
    assert "damaged" not in runs("--runs", root).stdout
    assert runs("mend", "one", "--runs", root).stdout == "one needs no mending\n"
    with pytest.raises(UserError, match="there is no run 'three'"):
        runs("mend", "three", "--runs", root)


def search(root, results, *trials):
    """trials: the text of each one's result.json."""
    Run(root / "found", "search", "interrupted").save("interrupted")
    if results is not None:
        (root / "found" / "results.json").write_text(results)
    for number, text in enumerate(trials):
        folder = trial_folder(root / "found", number)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(text)


RESULT = {"overrides": {}, "status": "completed", "score": 0.5, "metrics": {"mpck4": 0.5}, "history": [[1, 0.5]]}
RESULT |= {"number": 0, "seconds": 1.0, "config_hash": "ab", "checkpoint": None}


def test_a_damaged_results_file_is_said_and_the_trials_are_read_one_by_one(root):
    search(root, '{"trials": [{"score": "0.5"}]}', json.dumps(RESULT))
    why = f"{root}/found/results.json is odd: trials.0.score should be a valid number; `capetune runs mend found"
    assert f"warning: found: {why}" in runs("--runs", root).stdout
    lines = runs("show", "found", "--runs", root).stdout.splitlines()
    assert any(line.startswith(f"warning: {why}") for line in lines)
    assert lines[-1].split() == ["0", "completed", "0.500", "0.500", "–", "1", "ab", "–"]


@pytest.mark.parametrize("change", [{"number": 1}, {"score": "high"}, {"history": [3]}, {"seconds": None}])
def test_a_trial_s_damaged_result_is_said(root, change):
    search(root, '{"trials": []}', json.dumps(RESULT | change), '{"number": 1, ')
    lines = runs("show", "found", "--runs", root).stdout.splitlines()
    first, second = [line for line in lines if line.startswith("warning: ")]
    assert f"{root}/found/trials/trial-000/result.json is odd: " in first
    assert f"{root}/found/trials/trial-001/result.json is cut or no JSON" in second
    assert "trial 1 counts as not ended; `capetune search --resume found" in second
    assert len(json.loads(runs("show", "found", "--runs", root, "--json").stdout)["damaged"]) == 2


@pytest.mark.parametrize("path", ["../one/epoch-0001", "/etc", "trials/link", "a\0b", "x" * 5000, "loop"])
def test_a_checkpoint_that_leads_out_of_its_run_is_not_read(root, path):
    search(root, json.dumps({"trials": [{"checkpoint": str(path)}]}), json.dumps(RESULT))
    (root / "found" / "trials" / "link").symlink_to(root / "one" / "epoch-0001")
    (root / "found" / "loop").symlink_to("loop")
    row = next(row for row in json.loads(runs("--runs", root, "--json").stdout) if row["name"] == "found")
    assert (row["mpck4"], row["checkpoint"]) == (None, None)
    assert "leads out of the run's folder or nowhere" in row["odd"]


def test_a_password_that_an_older_record_holds_is_not_shown(root):
    Run(root / "found", "search", "interrupted").save("interrupted", storage="postgresql://me:wholly-secret@host/db")
    for words in (("show", "found"), ("show", "found", "--json"), ("diff", "one", "found")):
        said = runs(*words, "--runs", root).stdout
        assert "wholly-secret" not in said
    assert json.loads(runs("show", "found", "--runs", root, "--json").stdout)["storage"].endswith("://me@host/db")
