from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capetune.errors import UserError
from capetune.reports.html import render, write_report
from capetune.reports.runs import difference, facts_lines, runs_lines, runs_table, summary, told_trials, trials_table
from capetune.reports.story import read_story
from capetune.runs.record import Run
from capetune.runs.registry import look

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
WILD = st.recursive(
    LEAVES | st.sampled_from(("0.5", "../../x", "\udcff")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def found(make_search: Callable[..., Run]) -> Run:
    return make_search("found", ["completed", "completed", "pruned", "failed"])


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "way", ["../../secret.txt", "{tmp}/secret.txt", "trials/trial-003/link", "trials/up/secret.txt"]
)
def test_a_traceback_that_leads_out_of_the_run_is_not_in_the_report(found: Run, tmp_path: Path, way: str) -> None:
    (tmp_path / "secret.txt").write_text("the very secret")
    (found.folder / "trials/trial-003/link").symlink_to(tmp_path / "secret.txt")
    (found.folder / "trials/up").symlink_to(tmp_path)
    path = way.format(tmp=tmp_path)
    edit(found.folder / "trials/trial-003/result.json", traceback=path)
    page = write_report(found).page.read_text()
    assert "the very secret" not in page
    assert "leads out of the run&#39;s folder or nowhere" in page
    assert "Its traceback is not there." in page


def test_the_file_of_a_trial_itself_may_be_no_way_out(found: Run, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("the very secret")
    (found.folder / "trials/trial-003/error.txt").unlink()
    (found.folder / "trials/trial-003/error.txt").symlink_to(tmp_path / "secret.txt")
    story = read_story(found)
    assert [row.traceback for row in story.rows if row.state == "failed"] == [None]
    assert "result.json: 'trials/trial-003/error.txt' leads out" in story.notes[-1]


def test_a_pack_whose_path_is_no_text_has_a_report(make_search: Callable[..., Run]) -> None:
    run = make_search("found", ["completed"], pack="packs/\udcff")
    assert "packs/?" in write_report(run).page.read_text()


def test_damaged_files_are_said_once_each(found: Run) -> None:
    (found.folder / "trials/trial-000/result.json").write_text("{")
    (found.folder / "trials/trial-001/trial.json").write_text("")
    (found.folder / "results.json").write_text("[]")
    (found.folder / "trials/trial-001/result.json").unlink()
    notes = "\n".join(read_story(found).notes)
    for words in (
        "trial-000/result.json is cut or no JSON",
        "trial 0 counts as not ended; `capetune search --resume found` goes on with it",
        "trial-001/trial.json is empty; remove it",
        "results.json is odd: it should be an object; `capetune runs mend found` makes it anew",
    ):
        assert notes.count(words) == 1
    assert "trial-000/result.json is cut or no JSON" in write_report(found).page.read_text()


def test_where_every_result_is_damaged_the_refusal_names_one(make_search: Callable[..., Run]) -> None:
    run = make_search("found", ["completed"])
    (run.folder / "trials/trial-000/result.json").write_text("")
    with pytest.raises(UserError, match=r"no trial of found has ended yet, .*trial-000/result.json is empty: trial 0"):
        read_story(run)


RECORD = ("kind", "state", "config_hash", "odd", "missing_categories", "goal", "mode", "trials", "data", "split")
RECORD += ("environment", "started", "pack", "storage", "protocol")
TRIAL = ("number", "overrides", "status", "score", "metrics", "history", "seconds", "checkpoint", "twin", "traceback")
TRIAL += ("template", "epochs", "config_hash", "error", "bad_input", "odd")
FILES = ("run.json", "results.json", "trials/trial-001/result.json")
# A file, and what to put into it: another document, or another value of a key, of a trial's in results.json.
DAMAGE = st.tuples(st.sampled_from(FILES), st.none(), WILD) | st.tuples(
    st.just("run.json"), st.sampled_from(RECORD), WILD
)
DAMAGE |= st.tuples(st.sampled_from(FILES[1:]), st.sampled_from(TRIAL), WILD)


@contextmanager
def damaged(folder: Path, name: str, key: str | None, value: Any) -> Iterator[list[Run]]:
    """The runs that can be read meanwhile."""
    file = folder / name
    text = file.read_text()
    tree = json.loads(text)
    if key is None:
        tree = value
    elif name == "results.json":
        tree["trials"] = [tree["trials"][0] | {key: value}, {key: value}, *tree["trials"][1:]]
    else:
        tree[key] = value
    try:
        file.write_text(json.dumps(tree))
        whole, odd = look(folder.parent)
        assert len(whole) + len(odd) == 1
        yield whole
    finally:
        file.write_text(text)


@settings(SHARED, max_examples=200)
@given(damage=DAMAGE)
def test_no_damage_ends_the_list_of_runs(found: Run, damage: tuple[str, str | None, Any]) -> None:
    with damaged(found.folder, *damage) as runs:
        for run in runs:
            row = summary(run)
            runs_table([row])
            runs_lines([row])
            facts_lines(run, row)
            trials, _ = told_trials(run)
            trials_table(trials)


@settings(SHARED, max_examples=40)
@given(damage=DAMAGE)
def test_no_damage_ends_a_report_but_with_one_line(found: Run, damage: tuple[str, str | None, Any]) -> None:
    with damaged(found.folder, *damage) as runs:
        for run in runs:
            try:
                render(read_story(run), [])
                difference(run, run)
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017
