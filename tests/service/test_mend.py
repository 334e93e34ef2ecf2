from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch.nn import Linear

from capetune.config import load_preset
from capetune.errors import UserError
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.facts import describe_protocol
from capetune.runs.home import at_work
from capetune.runs.record import Damaged, Run, read_run
from capetune.runs.registry import find_run
from capetune.runs.results import TrialResult, read_results, save_result, trial_folder, write_results
from capetune.service.mend import mend
from capetune.training.checkpoint import save_checkpoint

DATA = {"pack": "/packs/some", "data": "real", "data_hash": "abc", "split": 2, "train_instances": 7}
DATA |= {"missing_categories": {"train": [], "val": ["tern"], "test": []}}
CONFIG = load_preset("demo").with_overrides({"train.epochs": 2})
CUT = '{"capetune": "run", "kind"'


@pytest.fixture
def search(tmp_path: Path) -> Run:
    """Two trials that ended, the second the better one, and one that didn't."""
    run = Run(tmp_path / "found", "search", "completed")
    facts = {**DATA, "goal": ["mpck4"], "mode": ["max"], **describe_protocol(CONFIG)}
    results = []
    for number, score in enumerate((0.4, 0.5)):
        folder = trial_folder(run.folder, number) / "epoch-0002"
        metrics = {"epoch": 2.0, "mpck4": score}
        save_checkpoint(folder, Linear(1, 1), CheckpointMeta(CONFIG, 2, metrics, DATA), {})
        path, history = str(folder.relative_to(run.folder)), [(1, 0.1), (2, score)]
        overrides = {"loss.tokens": 0.2 + number}
        result = TrialResult(number, overrides, "completed", score, metrics, history, 1.0, "hash", path)
        save_result(run.folder, result)
        results.insert(0, result)
    trial_folder(run.folder, 2).mkdir()
    (run.folder / "config.yaml").write_text(CONFIG.to_yaml())
    (run.folder / "space.yaml").write_text("loss.tokens: {log: [0.05, 2.0]}\n")
    (run.folder / "optuna.journal").touch()
    write_results(run.folder, CONFIG, facts, results)
    run.save("completed", config_hash=CONFIG.hash(), trials=3, **facts)
    return run


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        mend(folder.parent, folder.name)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", [CUT, "", "{}", None])
@pytest.mark.parametrize("results", ["whole", "gone", "cut"])
def test_a_search_s_record_is_made_anew_of_its_files(search: Run, text: str | None, results: str) -> None:
    before, told = dict(search.facts), read_results(search.folder)
    (search.folder / "run.json").unlink()
    if text is not None:
        (search.folder / "run.json").write_text(text)
    if results == "gone":
        (search.folder / "results.json").unlink()
    elif results == "cut":
        (search.folder / "results.json").write_text("{")
    with pytest.raises(Damaged):
        find_run(search.folder.parent, "found")
    mended = mend(search.folder.parent, "found")
    again = find_run(search.folder.parent, "found", "search")
    assert again.state == "interrupted"
    assert {key: again.facts[key] for key in before if key not in ("started", "updated")} == {
        key: value for key, value in before.items() if key not in ("started", "updated")
    }
    assert read_results(search.folder) == told
    assert [file.name for file in mended.made] == ["run.json", "results.json"][: 1 + (results != "whole")]
    assert any("3 were begun; --trials asks for more" in line for line in mended.lost)
    assert (text is None) != (search.folder / "run.json.damaged").is_file()


def test_what_a_search_s_files_do_not_tell_is_said(search: Run) -> None:
    (search.folder / "run.json").write_text(CUT)
    (search.folder / "optuna.journal").unlink()
    (search.folder / "features").mkdir()
    (search.folder / "features" / "of.json").write_text('{"copies": 16}')
    (trial_folder(search.folder, 1) / "result.json").write_text("{")
    lost = "\n".join(mend(search.folder.parent, "found").lost)
    assert "there is no optuna.journal; one is made anew, unless --storage names a database" in lost
    assert "trial-001/result.json is cut or no JSON" in lost
    assert "--keep, --hours" in lost
    found = read_run(search.folder)
    assert found is not None
    assert found.facts["cache_features"] == 16


def test_a_whole_record_stays_and_damaged_results_are_made_anew(search: Run) -> None:
    record, told = (search.folder / "run.json").read_bytes(), read_results(search.folder)
    assert mend(search.folder.parent, "found").made == []
    (search.folder / "results.json").write_text("[]")
    mended = mend(search.folder.parent, "found")
    assert mended.made == [search.folder / "results.json"]
    assert mended.lost == ["the scores of trials that haven't ended, until the search goes on: 2"]
    assert ((search.folder / "run.json").read_bytes(), read_results(search.folder)) == (record, told)
    assert (search.folder / "results.json.damaged").read_text() == "[]"


def test_a_search_of_which_nothing_tells_the_data_is_hopeless(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text(CONFIG.to_yaml())
    (tmp_path / "begun" / "space.yaml").write_text("loss.tokens: {log: [0.05, 2.0]}\n")
    refused(tmp_path / "begun", "neither results.json nor a checkpoint says what data", "move the folder away: mv ")
    assert not (tmp_path / "begun" / "run.json").exists()


@pytest.mark.parametrize(("epoch", "state"), [(1, "interrupted"), (2, "completed")])
def test_a_training_s_record_is_made_anew_of_its_checkpoint(tmp_path: Path, epoch: int, state: str) -> None:
    save_checkpoint(tmp_path / "one" / "epoch-0001", Linear(1, 1), CheckpointMeta(CONFIG, epoch, {}, DATA), {})
    mended = mend(tmp_path, "one")
    found = find_run(tmp_path, "one", "train")
    assert (found.state, found.facts["config_hash"], found.facts["data_hash"]) == (state, CONFIG.hash(), "abc")
    assert mended.made == [tmp_path / "one" / "run.json"]


def test_a_promotion_s_record_is_made_anew_of_its_tables(tmp_path: Path) -> None:
    folder = tmp_path / "found-promoted"
    (folder / "split1-seed0").mkdir(parents=True)
    (folder / "run.json").write_text(CUT)
    refused(folder, "there is no promotion.json; move it away (mv ", "goes on with the jobs there")
    facts = {"config_hash": "c", "data_hash": "d", "search": "found", "pack": "p", "data": "real"}
    (folder / "promotion.json").write_text(json.dumps({**facts, "tables": []}))
    mend(tmp_path, "found-promoted")
    found = find_run(tmp_path, "found-promoted", "promote")
    assert facts.items() <= found.facts.items()
    (folder / "run.json").write_text(CUT)
    (folder / "promotion.json").write_text("{}")
    refused(folder, "promotion.json doesn't say what was promoted")


def test_what_is_nobody_s_is_not_mended(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{broken")
    refused(tmp_path / "other", "no checkpoint says what was trained")
    assert (tmp_path / "other" / "run.json").read_text() == "{broken"
    refused(tmp_path / "none", "there is no run 'none'")


def test_a_run_that_is_worked_on_is_not_mended(search: Run) -> None:
    (search.folder / "run.json").write_text(CUT)
    with at_work(search.folder):
        refused(search.folder, "another capetune works on")
