"""Which search a request begins or goes on with, without Ray."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from capetune.config import load_config
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.events import ignore
from capetune.runs.record import Run, read_run
from capetune.runs.results import TrialResult, save_result, trial_folder
from capetune.service.search import SearchRequest, _begun
from capetune.service.steps import housed
from capetune.storage.address import open_place

SPACE = "loss.tokens: {log: [0.05, 2.0]}\n"
FRESH = {"preset": "demo", "set": ("train.epochs=2",)}


@pytest.fixture
def pack(tiny_pack: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_pack, tmp_path / "pack")


@pytest.fixture
def runs(tmp_path: Path, pack: Path) -> Path:
    """Holds the search `mine`, begun with FRESH and SPACE."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "sp.yaml").write_text(SPACE)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "config.yaml").write_text(load_config("demo", None, FRESH["set"]).to_yaml())
    facts = {"pack": str(pack), "trials": 3, "study": "mine", "storage": None}
    Run(folder, "search", "running", facts).save("interrupted")
    return folder.parent


def asked(runs: Path, **fields: object) -> SearchRequest:
    return SearchRequest.of(**{"runs": runs, "space": str(runs.parent / "sp.yaml"), **fields})


def test_the_same_command_begins_or_goes_on(runs: Path, pack: Path) -> None:
    begun = _begun(asked(runs, **FRESH, data=str(pack), name="mine", resume_or_start=True), ignore)
    assert begun.before
    assert begun.folder == runs / "mine"
    begun = _begun(asked(runs, **FRESH, data=str(pack), name="other", resume_or_start=True), ignore)
    assert not begun.before
    assert begun.folder == runs / "other"


def test_a_search_that_was_killed_before_its_record_was_written_is_begun_again(runs: Path, pack: Path) -> None:
    (runs / "mine" / "run.json").unlink()
    assert not _begun(asked(runs, **FRESH, data=str(pack), name="mine", resume_or_start=True), ignore).before
    assert not _begun(asked(runs, **FRESH, data=str(pack), name="mine"), ignore).before


def test_another_configuration_or_no_name_is_refused(runs: Path, pack: Path) -> None:
    other = {**FRESH, "set": ("train.epochs=3",)}
    with pytest.raises(UserError, match="runs/mine was begun with another configuration; choose another --name"):
        _begun(asked(runs, **other, data=str(pack), name="mine", resume_or_start=True), ignore)
    found = read_run(runs / "mine")
    assert found is not None
    found.save("interrupted", cache_features=0)
    with pytest.raises(UserError, match="runs/mine was begun with --cache-features 0: give that, or another --name"):
        _begun(asked(runs, **FRESH, cache_features=4, data=str(pack), name="mine", resume_or_start=True), ignore)
    with pytest.raises(UserError, match="give --name too"):
        _begun(asked(runs, **FRESH, resume_or_start=True), ignore)
    with pytest.raises(UserError, match="leave out --preset, --set, --resume-or-start"):
        _begun(asked(runs, **FRESH, resume="mine", resume_or_start=True), ignore)


def test_a_pack_that_lies_elsewhere_now_is_given_by_data(runs: Path, pack: Path) -> None:
    moved = pack.rename(pack.with_name("moved"))
    with pytest.raises(UserError, match=r"the pack that mine was begun with can't be opened; .* give --data PLACE \("):
        _begun(asked(runs, resume="mine"), ignore)
    begun = _begun(asked(runs, resume="mine", data=str(moved)), ignore)
    assert begun.before
    assert begun.pack.address == str(moved)
    with pytest.raises(UserError, match="nowhere doesn't exist"):
        _begun(asked(runs, resume="mine", data="nowhere"), ignore)


def test_a_database_that_was_moved_is_given_by_storage(runs: Path) -> None:
    assert _begun(asked(runs, resume="mine"), ignore).storage is None
    assert _begun(asked(runs, resume="mine", storage="sqlite:///new.db"), ignore).storage == "sqlite:///new.db"


def test_what_a_search_begins_with_is_looked_for_before_anything_starts(runs: Path, pack: Path) -> None:
    new = {**FRESH, "data": str(pack), "name": "new"}
    with pytest.raises(
        UserError, match=r"--top says how many points of an earlier search .* give --warm-start NAME too"
    ):
        _begun(asked(runs, **new, top=3), ignore)
    with pytest.raises(UserError, match=r"there is no search 'nosuch' in .*there: mine"):
        _begun(asked(runs, **new, warm_start="nosuch"), ignore)
    with pytest.raises(UserError, match="leave out --warm-start"):
        _begun(asked(runs, resume="mine", warm_start=("mine",), space=None), ignore)
    begun = _begun(asked(runs, **new, warm_start="mine"), ignore)
    assert begun.warmth.found == ["mine has nothing that this search could begin with"]
    assert not (runs / "new").exists()


def test_a_search_begins_with_the_results_of_one_at_the_same_address(runs: Path, pack: Path, bucket: str) -> None:
    config = load_config("demo", None, FRESH["set"])
    epochs, values = [(1, 0.2), (2, 0.4)], {"loss.tokens": 0.7}
    hashed = config.with_overrides(values).hash()
    trial_folder(runs / "mine", 3).mkdir(parents=True)
    save_result(runs / "mine", TrialResult(3, values, "completed", 0.4, {}, epochs, 9.0, hashed, None))
    found = read_run(runs / "mine")
    assert found is not None
    found.save("completed", data_hash=open_pack(pack).fingerprint, goal=["mpck4"], mode=["max"])
    there = f"{bucket}/{runs.parent.name}/runs"
    for file in (runs / "mine").rglob("*.*"):
        open_place(there).send(file, file.relative_to(runs).as_posix())
    shutil.rmtree(runs / "mine")

    request = asked(runs, **FRESH, data=str(pack), name="new", warm_start="mine")
    with housed(request.model_copy(update={"runs": there}), ignore) as (at_home, listener):
        warmth = _begun(at_home, listener).warmth
    assert warmth.found == ["results of mine that count as trials: 1 of 1"]
    assert [(each.name, each.result and each.result.history) for each in warmth.taken] == [("trial 3 of mine", epochs)]
    with pytest.raises(UserError, match=rf"{there}/mine is an address; with --runs {there} it is mine"):
        _begun(asked(runs, **FRESH, data=str(pack), name="new", warm_start=f"{there}/mine"), ignore)
