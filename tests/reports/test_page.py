"""The page in a browser without a network: nothing goes wrong, the figures are there, a click sorts."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from capetune.prediction.model import load_best
from capetune.reports import evaluated_page
from capetune.reports.course_page import write_report as write_course
from capetune.reports.evaluated import read_result
from capetune.reports.html import write_report
from capetune.reports.leaderboard_page import write_page as write_leaderboard
from capetune.reports.promoted_page import write_report as write_promoted
from capetune.runs.leaderboard import boards, published
from capetune.runs.record import read_run

from .conftest import ODD, course, score

pytestmark = pytest.mark.long
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What the page does is written into its body for --dump-dom: what the console heard, what was asked of the network,
# how many traces each plot has, and the first cells of a table's rows before and after each click on a head.
PROBE = """<script>
const said = [], orders = [];
for (const kind of ["error", "warn"]) console[kind] = (...words) => said.push(words.join(" "));
addEventListener("error", (event) => said.push(event.message || "not loaded: " + event.target.src), true);
addEventListener("unhandledrejection", (event) => said.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => said.push("against the rules: " + event.blockedURI));
addEventListener("load", () => setTimeout(() => {
  const heads = [...document.querySelectorAll("table.sortable button")];
  const order = () => [...document.querySelectorAll("table.sortable tbody tr")].map((row) => row.cells[0].innerText);
  orders.push(order());
  for (const name of CLICKS) {
    heads.find((head) => head.textContent === name).click();
    orders.push(order());
  }
  const did = (() => { DO })();
  const drawn = [...document.querySelectorAll(".js-plotly-plot")].map(
    (plot) => [plot.id, plot.querySelectorAll(".main-svg .trace").length]);
  const asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  document.body.dataset.probe = JSON.stringify({said, asked, drawn: Object.fromEntries(drawn), orders, did});
}, 500));
</script>"""
ASKING = '<img src="http://127.0.0.1:9/there.png"><script>console.error("oh")</script>'


def look(
    page: Path, extra: str = "", clicks: tuple[str, ...] = ("trial", "mPCK4", "mPCK4"), do: str = ""
) -> dict[str, Any]:
    """What the probe found in a page; skips where there is no Chromium. clicks: heads of its table to sort. do:
    JavaScript that runs after them, whose value is `did`."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    copy = page.with_name("probed.html")
    probe = PROBE.replace("CLICKS", json.dumps(clicks)).replace("DO", do)
    copy.write_text(page.read_text().replace("<head>", f"<head>{probe}", 1).replace("</body>", f"{extra}</body>"))
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    words += [f"--user-data-dir={page.parent / 'browser'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    words += ["--virtual-time-budget=10000", "--dump-dom", copy.as_uri()]
    own = os.environ | {"HOME": str(page.parent)}
    done = subprocess.run([browser, *words], env=own, capture_output=True, text=True, timeout=200)
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr
    return json.loads(html.unescape(found[1]))


def test_a_browser_draws_the_page_without_a_network_and_sorts_it(make_search):
    run = make_search("plain", ["completed"] * 5 + ["pruned", "failed", "pruned"])
    report = write_report(run)
    seen = look(report.page)
    assert seen["said"] == []
    assert seen["asked"] == []
    assert list(seen["drawn"]) == [f"plot-{file.stem}" for file in report.figures]
    assert all(seen["drawn"].values())
    by_score = [str(row.number) for row in report.story.rows]
    first, by_number, rising, falling = seen["orders"]
    assert first == by_score
    assert by_number == [str(number) for number in range(8)]
    assert rising == [*reversed(by_score[:-1]), by_score[-1]]  # the failed one has no score: last either way
    assert falling == by_score


def test_a_browser_draws_a_page_of_odd_names_too(make_search):
    run = make_search("odd", [*["completed"] * 8, "failed"], ODD)
    folder = run.folder.rename(run.folder.with_name("<b>odd [left] & 'more'"))
    report = write_report(read_run(folder))
    seen = look(report.page)
    assert seen["said"] == []
    assert list(seen["drawn"]) == [f"plot-{file.stem}" for file in report.figures]
    assert all(seen["drawn"].values())


def test_what_a_page_asks_of_the_network_and_the_console_is_seen(make_search):
    seen = look(write_report(make_search("one", ["completed"])).page, ASKING)
    assert "oh" in seen["said"]
    assert "against the rules: http://127.0.0.1:9/there.png" in seen["said"]


def test_a_browser_draws_a_training_s_page_and_sorts_its_epochs(make_training):
    run = make_training("plain", course(12))
    write_course(run)
    seen = look(run.folder / "report.html", clicks=("epoch", "epoch", "val loss"))
    assert seen["said"] == []
    assert seen["asked"] == []
    assert list(seen["drawn"]) == ["plot-losses", "plot-components", "plot-pck", "plot-rate", "plot-seconds"]
    assert all(seen["drawn"].values())
    rising = [str(epoch) for epoch in range(1, 13)]
    assert seen["orders"] == [rising, rising, rising[::-1], rising[::-1]]


def test_a_browser_draws_a_promotion_s_page_and_sorts_its_jobs(make_promotion):
    run = make_promotion("<i>some", {(1, 42): 0.4, (1, 43): 0.5, (2, 42): 0.6, (2, 43): None})
    score(run.folder / "split1-seed42", 0.7, 0.31, episodes="official")
    write_promoted(run)
    seen = look(run.folder / "report.html", clicks=("split", "split", "mPCK4, 1-shot, 3×15"))
    assert seen["said"] == []
    assert seen["asked"] == []
    assert list(seen["drawn"]) == ["plot-scores-1", "plot-scores-2", "plot-courses", "plot-seconds"]
    assert all(seen["drawn"].values())
    assert seen["orders"] == [["1", "1", "2", "2"], ["1", "1", "2", "2"], ["2", "2", "1", "1"], ["1", "1", "2", "2"]]


GALLERY = """
  const seen = (kind) => [...document.querySelectorAll(`figure g.${kind}`)].filter(
    (pose) => getComputedStyle(pose).display !== "none").length;
  const box = (name) => document.querySelector(`#layers input[name=${name}]`);
  const large = document.getElementById("large"), buttons = [...document.querySelectorAll("figure button")];
  const told = () => large.querySelector("p").textContent.trim();
  const press = (key) => large.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const found = {before: [seen("truth"), seen("predicted"), seen("template")]};
  box("template").click();
  box("truth").click();
  found.after = [seen("truth"), seen("predicted"), seen("template")];
  buttons[1].focus();
  buttons[1].click();
  found.large = [large.open, large.querySelectorAll("svg image").length, told()];
  press("ArrowRight");
  found.next = told();
  const looks = () => [large.querySelectorAll(".looked circle").length, large.querySelector(".looking").textContent];
  found.looks = [looks()];
  press("ArrowDown");
  found.looks.push(looks());
  const last = [...large.querySelectorAll(".predicted circle")].at(-1).getBoundingClientRect();
  large.querySelector("image").dispatchEvent(
    new MouseEvent("click", {clientX: last.x + last.width / 2, clientY: last.y + last.height / 2, bubbles: true}));
  found.looks.push(looks());
  press("ArrowDown");
  found.looks.push(looks());
  press("ArrowLeft"); press("ArrowLeft"); press("ArrowLeft");
  found.last = told();
  large.querySelector("form button").click();
  found.closed = large.open;
  found.captions = buttons.map((each) => each.parentNode.querySelector("figcaption").textContent.trim());
  found.sized = buttons.every((each) => each.querySelector("svg").getBoundingClientRect().width > 100);
  found.named = document.querySelectorAll("figure g.truth circle title").length;
  return found;
"""


def test_a_browser_shows_an_evaluation_s_pictures_layers_looks_and_table(scored, untrained):
    model = load_best(untrained)
    evaluated_page.write_report(read_result(scored.file), scored.file, scored.pack, model=model)
    seen = look(scored.file.with_suffix(".html"), clicks=("id", "id", "mPCK4"), do=GALLERY)
    assert seen["said"] == []
    assert seen["asked"] == []
    assert list(seen["drawn"]) == ["plot-curve", "plot-categories", "plot-missed"]
    assert all(seen["drawn"].values())
    _, rising, falling, by_score = seen["orders"]
    assert (rising, falling) == (["87", "88"], ["88", "87"])
    rows = json.loads(scored.file.read_text())["per_category"]
    assert by_score == sorted(rows, key=lambda id: rows[id]["mpck4"])
    did = seen["did"]
    count = len(did["captions"])
    assert did["before"] == [count, count, 0]
    assert did["after"] == [0, count, count]
    assert did["large"] == [True, 1, did["captions"][1]]
    assert did["next"] == did["captions"][2]
    none, first, clicked, around = did["looks"]
    assert none == [0, "A click on a keypoint, or ↑ and ↓: where the model looked for it."]
    assert first[0] > 1
    assert first[1].endswith(f": {first[0] - 1} places, the larger the more they weigh.")  # one is the keypoint itself
    assert clicked[0] == first[0]
    assert clicked[1] != first[1]
    assert around == first
    assert did["last"] == did["captions"][-1]
    assert did["closed"] is False
    assert did["sized"]
    assert did["named"] > count


def test_a_browser_sorts_the_leaderboard_by_any_split(tmp_path):
    found = boards(published())
    page = tmp_path / "board.html"
    write_leaderboard(found, [], page)
    seen = look(page, clicks=("split 1", "split 1"))
    assert seen["said"] == seen["asked"] == []
    first = [entry for entry in next(iter(found.values())) if 1 in entry.splits]
    by_split = [entry.method for entry in sorted(first, key=lambda entry: entry.splits[1])]
    before, rising, falling = seen["orders"]
    assert sorted(before) == sorted(rising) == sorted(falling)
    assert rising[: len(first)] == by_split
    assert falling[: len(first)] == by_split[::-1]
