from __future__ import annotations

import html
import json
import logging
import re
import shlex
import warnings
from pathlib import Path

import pytest

import capetune.reports.html
from capetune.errors import UserError
from capetune.reports.html import write_report
from capetune.reports.panels import panels
from capetune.reports.story import read_story
from capetune.reports.words import in_words
from capetune.runs.home import at_work
from capetune.runs.record import Run, read_run

from .conftest import CONDITIONAL, LONG, ODD, TRADE

ONE = "loss.tokens: {log: [0.05, 2.0]}\n"
PNG = b"\x89PNG\r\n"
NAMES = ["curves", "history", "regret", "importances", "parallel", "slices"]


@pytest.fixture
def plain(make_search):
    return make_search("plain", ["completed"] * 5 + ["pruned", "pruned", "stopped", "failed"])


def text(page: Path) -> str:
    """The page without plotly.js, each run of white space a blank."""
    return " ".join(re.sub(r"<script>/\*.*?</script>", "", page.read_text(), count=1, flags=re.DOTALL).split())


def why_not(run: Run) -> dict[str, str]:
    return {panel.name: panel.why for panel in panels(read_story(run)) if panel.why}


def test_the_page_says_what_was_found_and_what_the_scores_are_of(plain):
    report = write_report(plain)
    page = text(report.page)
    assert report.page == plain.folder / "report.html"
    assert 'plain <span class="state completed">completed</span>' in page
    assert "9 of 9 trials: 5 completed, 2 pruned, 1 stopped, 1 failed." in page
    best = read_story(plain).best
    assert f'<p class="big">{best.number}' in page
    assert f'<p class="big">{best.metrics["mpck4"]:.3f}</p>' in page
    assert 'template 0.339 on the same pairs: <strong class="ahead">+' in page
    for words in ("val part, sampled as officially, 3 episodes", "<strong>synthetic</strong>: packs/some"):
        assert words in page
    assert "val: tern &lt;body&gt;" in page
    assert "rungs after epoch 1, 3" in page
    assert "1 trial had the configuration of an earlier one: 1 that of 0." in page
    assert "1.2 MB" in page


def test_errors_and_tracebacks_are_shown_and_escaped(plain):
    page = text(write_report(plain).page)
    assert "<strong>trial 8</strong> ValueError: no &lt;b&gt;such&lt;/b&gt; thing &amp; more</summary>" in page
    assert "File &#34;x.py&#34;, line 1" in page
    assert "<b>such" not in page


def test_names_and_values_of_users_are_text_and_no_markup(make_search):
    run = make_search("odd", [*["completed"] * 9, "failed"], ODD, pack="packs/<i>mine</i>")
    folder = run.folder.rename(run.folder.with_name("<b>bold [left] & 'odd'"))
    report = write_report(read_run(folder))
    assert report.missing == {}
    page = text(report.page)
    name = "&lt;b&gt;bold [left] &amp; &#39;odd&#39;"
    assert f"<title>{name} – capetune</title>" in page
    assert f"<h1>{name} <span" in page
    quoted = html.escape(shlex.quote(folder.name)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    assert f"<code>capetune train --best {quoted}</code>" in page
    assert "packs/&lt;i&gt;mine&lt;/i&gt;" in page
    assert "&lt;b&gt;$x_1$&lt;/b&gt; [left]" in page
    assert not re.search(r"<b>|<i>|</script>[^<\n]*</td>", page)
    assert {row.overrides["model.backbone.weights"] for row in report.story.rows} >= {f"{LONG}a.pt", f"{LONG}b.pt"}


def test_long_values_are_short_on_axes_and_stay_apart(make_search):
    story = read_story(make_search("odd", ["completed"] * 9, ODD))
    study = next(panel.study for panel in panels(story) if panel.kind == "slices")
    shown = {trial.params["weights"] for trial in study.trials}
    real = {row.overrides["model.backbone.weights"] for row in story.rows}
    assert len(shown) == len(real)
    assert {f"/data/w…twork/{end}" for end in ("a.pt", "b.pt")} <= shown
    assert max(map(len, shown)) <= 18


def test_the_page_needs_no_network_and_offers_no_upload(plain):
    content = write_report(plain).page.read_text()
    assert content.count("plotly.js v") == 1
    page = text(plain.folder / "report.html")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "cdn" not in page
    assert page.count('"showSendToCloud": false') == page.count("Plotly.newPlot") == len(NAMES)


def test_every_figure_is_a_png_too(plain):
    report = write_report(plain)
    assert report.missing == {}
    assert [file.relative_to(plain.folder).as_posix() for file in report.figures] == [f"figures/{n}.png" for n in NAMES]
    assert all(file.read_bytes().startswith(PNG) for file in report.figures)
    assert len(list((plain.folder / "figures").iterdir())) == len(NAMES)


def test_the_search_itself_stays_as_it_was(plain):
    before = {file: file.read_bytes() for file in plain.folder.rglob("*") if file.is_file()}
    write_report(plain)
    assert all(file.read_bytes() == content for file, content in before.items())


def test_two_metrics_have_a_front_and_figures_of_their_own(make_search):
    report = write_report(make_search("trade", ["completed"] * 6 + ["failed"], TRADE))
    names = ["front", *(f"{name}-{metric}" for metric in ("mpck4", "generate_ms") for name in NAMES)]
    assert [file.stem for file in report.figures] == names
    assert report.missing == {}
    assert "On the front of mPCK4 and generate_ms: trial" in text(report.page)


def test_each_metric_is_viewed_in_its_own_direction(make_search):
    story = read_story(make_search("trade", ["completed"] * 6, TRADE))
    studies = {panel.metric: panel.study for panel in panels(story) if panel.kind == "history"}
    assert studies["mpck4"].best_trial.number == story.best.number
    quickest = min(story.rows, key=lambda row: row.metrics["generate_ms"])
    assert studies["generate_ms"].best_value == quickest.metrics["generate_ms"]


def test_keys_that_not_every_trial_has_are_drawn_of_those_that_have_them(make_search):
    run = make_search("conditional", ["completed"] * 8, CONDITIONAL)
    report = write_report(run)
    assert report.missing == {}
    assert [file.stem for file in report.figures] == [*NAMES[:5], "slices-1", "slices-2"]
    shown = [panel.parameters for panel in panels(read_story(run)) if panel.kind == "slices"]
    assert shown == [("sequence", "vocabulary", "tokens"), ("coordinates", "layers")]


def test_one_trial_is_too_few_for_most_figures(make_search):
    compared = ("importances", "parallel", "slices")
    why = "only one trial was trained to the end (2 failed)"
    run = make_search("one", ["completed", "failed", "failed"])
    assert why_not(run) == dict.fromkeys(compared, why)
    why = "only one trial has a score after epoch 3 (1 pruned, 1 failed)"
    none = {"history": "no trial was trained to the end (1 pruned, 1 failed)"}
    assert why_not(make_search("early", ["failed", "pruned"])) == dict.fromkeys(compared, why) | none


def test_where_most_trials_were_stopped_early_the_figures_rest_on_all_of_them(make_search):
    run = make_search("early", ["completed", *["pruned"] * 6, "failed"])
    assert why_not(run) == {}
    page = text(write_report(run).page)
    words = "scores after epoch 1 of 7 of 8 trials"
    assert f"(PED-ANOVA), from the {words}; so few say little. Early scores favour what learns fast." in page
    assert f"A line a trial, from the {words}; the stronger its colour" in page
    assert f"S{words[1:]}, against one parameter at a time" in page
    studies = {panel.name: panel.study for panel in panels(read_story(run)) if panel.study}
    story = read_story(run)
    scores = {row.number: row.history[0]["mpck4"] for row in story.rows if row.history}
    for name in ("importances", "parallel", "slices"):
        trials = [trial for trial in studies[name].trials if trial.state.name == "COMPLETE"]
        assert {trial.number: trial.value for trial in trials} == scores


def test_where_all_trials_were_trained_to_the_end_the_figures_rest_on_their_final_scores(make_search):
    run = make_search("whole", ["completed"] * 6)
    page = text(write_report(run).page)
    assert "from the final scores of all 6 trials; so few say little." in page
    assert "Early scores" not in page
    final = {row.number: row.metrics["mpck4"] for row in read_story(run).rows}
    shown = next(panel.study for panel in panels(read_story(run)) if panel.kind == "slices")
    assert {trial.number: trial.value for trial in shown.trials} == final


def test_importances_want_trials_parameters_and_a_spread(make_search):
    ends = ["completed"] * 5
    few = "3 trials that were trained to the end are too few to tell the parameters apart"
    assert why_not(make_search("few", ends[:3])) == {"importances": few}
    assert why_not(make_search("one", ends, ONE)) == {"importances": "only one parameter is varied, tokens"}
    same = "all 5 trials that were trained to the end have the same mPCK4"
    flat = make_search("flat", ends, peak=lambda values: 0.5)
    assert why_not(flat) == {"importances": same}
    assert list(write_report(flat).missing.values()) == [same]


def test_a_search_that_failed_has_a_report_of_its_failures(make_search):
    report = write_report(make_search("bad", ["failed", "failed"], state="failed"))
    assert report.figures == []
    assert set(report.missing.values()) == {
        "no trial has finished an epoch",
        "no trial was trained to the end (2 failed)",
    }
    page = text(report.page)
    assert "No trial that ended has a score." in page
    assert "Not drawn: no trial was trained to the end (2 failed)." in page
    assert page.count("<details>") == 2


@pytest.mark.parametrize(
    ("state", "shown", "trials", "words"),
    [
        ("interrupted", "interrupted", "unfinished", "It was interrupted."),
        ("running", "cut off", "unfinished", "It was cut off."),
    ],
)
def test_a_search_that_was_cut_off_says_so_and_how_to_go_on(make_search, state, shown, trials, words):
    run = make_search("some", ["completed", "open"], state=state)
    story = read_story(run)
    assert (story.state, [row.state for row in story.rows]) == (shown, ["completed", trials])
    assert f"{words} Go on with it: <code>capetune search --resume some</code>" in text(write_report(run).page)


def test_a_search_at_work_is_shown_as_it_stands(make_search):
    run = make_search("some", ["completed", "open"], state="running")
    with at_work(run.folder):
        story = read_story(run)
    assert (story.state, [row.state for row in story.rows]) == ("running", ["completed", "running"])


def test_without_the_study_the_learning_curves_remain(plain):
    journal = plain.folder / "optuna.journal"
    journal.write_text("{torn\n" + journal.read_text())
    why = why_not(plain)
    assert set(why) == set(NAMES) - {"curves", "regret"}
    assert why["history"].startswith("Optuna's study can't be read: ")
    journal.unlink()
    assert why_not(plain)["history"] == "Optuna's journal is not there: optuna.journal"
    assert not journal.exists()


def test_a_password_in_the_storage_s_url_stays_out_of_the_page(make_search):
    run = make_search("some", ["completed"], storage="nosuchbase://me:secret@here/db")
    page = text(write_report(read_run(run.folder)).page)
    assert "can&#39;t open Optuna&#39;s storage nosuchbase://me@here/db: " in page
    assert "secret" not in page


def test_settings_that_can_t_be_read_cost_the_rungs_only(plain):
    (plain.folder / "space.yaml").write_text("loss.tokenz: {log: [1, 2]}\n")
    story = read_story(plain)
    assert story.rungs == []
    assert "loss.tokenz" in story.notes[0]
    assert story.keys == ["loss.tokens", "model.decoder.layers"]


def test_a_renamed_folder_still_finds_its_study(plain):
    folder = plain.folder.rename(plain.folder.with_name("renamed"))
    assert why_not(read_run(folder)) == {}


def test_the_environment_is_the_search_s_where_it_was_recorded(make_search, plain):
    assert "Of the process that made this page" in text(write_report(plain).page)
    run = make_search("some", ["completed"], environment={"python": "3.99.1", "machine": "a <big> one"})
    page = text(write_report(run).page)
    assert "<dt>python</dt><dd>3.99.1</dd><dt>machine</dt><dd>a &lt;big&gt; one</dd>" in page
    assert "Of the process that made this page" not in page


def test_a_figure_of_an_earlier_report_that_can_t_be_drawn_any_more_goes(make_search):
    run = make_search("one", ["completed"])
    (run.folder / "figures").mkdir()
    for name in ("slices.png", "mine.png"):
        (run.folder / "figures" / name).write_bytes(PNG)
    write_report(run)
    left = ["curves.png", "history.png", "mine.png", "regret.png"]
    assert sorted(file.name for file in (run.folder / "figures").iterdir()) == left


def test_the_page_can_go_elsewhere_but_not_over_a_folder_nor_into_one_that_isn_t_there(make_search, tmp_path):
    run = make_search("one", ["completed"])
    report = write_report(run, tmp_path / "page.html")
    assert report.page.read_text().startswith("<!DOCTYPE html>")
    assert not (run.folder / "report.html").exists()
    with pytest.raises(UserError, match="is a folder; give --out a file"):
        write_report(run, tmp_path)
    with pytest.raises(UserError, match="a file in a folder that exists"):
        write_report(run, tmp_path / "new/page.html")
    assert not (tmp_path / "new").exists()


def test_no_library_is_heard(make_search, monkeypatch, capfd, recwarn):
    draw = capetune.reports.html.draw

    def loud(*given):
        warnings.warn("of a library", UserWarning, stacklevel=2)
        logging.getLogger("matplotlib.font_manager").warning("findfont: not found")
        return draw(*given)

    monkeypatch.setattr("capetune.reports.html.draw", loud)
    write_report(make_search("flat", [*["completed"] * 3, *["pruned"] * 3], peak=lambda values: 0.5))
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_what_was_started_again_is_told(make_search):
    run = make_search("some", ["completed"] * 3)
    page = text(write_report(run).page)
    assert "more than once" not in page
    events = [("trial_started", 0, 0), ("epoch_done", 0, 1), ("trial_lost", 0, 1), ("trial_started", 0, 1)]
    events += [("trial_started", 2, 0), ("trial_started", 2, 0), ("node_lost", None, None)]
    lines = [json.dumps({"time": 1.0, "event": kind, "trial": trial, "epoch": epoch}) for kind, trial, epoch in events]
    (run.folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    page = text(write_report(run).page)
    assert (
        "2 trials were started more than once: trial 0 after epoch 1 (its process was lost); "
        "trial 2 from the beginning (the search was cut off and went on)." in page
    )
    assert "1 machine was lost while the search ran." in page


def test_commands_on_the_page_work_as_they_stand(make_search, monkeypatch, tmp_path):
    run = make_search("some", ["completed", "open"], state="interrupted")
    monkeypatch.chdir("/")
    page = text(write_report(run).page)
    for words in ("search --resume", "train --best", "report"):
        assert f"<code>capetune {words} some --runs {tmp_path}/runs</code>" in page


def test_what_mpck4_and_the_template_are_is_said_once(make_search, plain):
    page = text(write_report(plain).page)
    assert page.count("<strong>mPCK4</strong>, the higher, the better: the share of") == 1
    assert page.count("<strong>Template</strong>: the score of copying") == 1


def test_what_optuna_can_t_draw_is_said_in_its_place(make_search, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("float <division>")

    monkeypatch.setattr("capetune.reports.html.draw", broken)
    report = write_report(make_search("one", ["completed"]))
    assert report.missing["Learning curves"] == "it can't be drawn: ZeroDivisionError: float <division>"
    assert "Not drawn: it can&#39;t be drawn: ZeroDivisionError: float &lt;division&gt;." in text(report.page)


def test_sizes_in_words():
    assert [in_words(n) for n in (0, 999, 1500, 4_900_000, 123_456_789, 2.5e9)] == [
        *("0 B", "999 B", "1.5 kB", "4.9 MB", "123 MB", "2.5 GB")
    ]
