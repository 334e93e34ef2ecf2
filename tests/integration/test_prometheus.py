"""Debian's Prometheus beside a real search, as deploy/prometheus.yml sets it up: it answers what the Grafana dashboard
of deploy/ draws."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana/capetune.json"
PATIENCE = 90.0  # seconds from the first epoch until the last of the answers is there
ALWAYS = {"loss", "mpck4", "images_total", "step_seconds", "data_wait_seconds_total", "epoch", "trials"}
SOMETIMES = {"gpu_memory_bytes"}  # with a GPU
FILLED = {"$run": ".*", "$__rate_interval": "30s", "$__range": "10m"}
WORDS = {"avg", "by", "histogram_quantile", "max", "max_over_time", "rate", "sum"} | {
    "le",
    "rank",
    "run",
    "state",
    "trial",
}

Ask = Callable[[str], list[dict[str, Any]]]


def queries() -> dict[str, str]:
    """Every query of the dashboard's panels, by the panel's title, as Grafana would send it."""
    found = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in FILLED.items():
                text = text.replace(name, value)
            found[f"{panel['title']} {target['refId']}"] = text
    return found


def metrics_of(query: str) -> set[str]:
    """The metrics that a query names, without what a histogram puts behind its name: every word that is no other."""
    words = re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r'"[^"]*"|\[\d+\w+\]', "", query))
    return {re.sub("_(bucket|sum|count)$", "", word) for word in words if word not in WORDS}


@contextlib.contextmanager
def prometheus(dashboard: str, token: str, place: Path) -> Iterator[Ask]:
    """Asks it by PromQL. Skips where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs Prometheus (apt-get install prometheus)")
    place.mkdir()
    settings = (DEPLOY / "prometheus.yml").read_text()
    assert settings.count("127.0.0.1:8265") == 1
    (place / "prometheus.yml").write_text(settings.replace("127.0.0.1:8265", dashboard.removeprefix("http://")))
    (place / "ray-token").write_text(token)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={place / 'data'}"]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [program, f"--config.file={place / 'prometheus.yml'}", *words], stdout=log, stderr=log, cwd=place
        )

    def ask(query: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as got:
                tree = json.load(got)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{query}: {error.read().decode()}")
        assert tree["status"] == "success"
        return tree["data"]["result"]

    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1).close()
                break
            time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def filled(ask: Ask, query: str) -> list[dict[str, Any]]:
    until = time.monotonic() + PATIENCE
    while not (found := ask(query)):
        assert time.monotonic() < until, f"no answer to {query}"
        time.sleep(1)
    return found


def test_prometheus_answers_what_the_dashboard_draws_while_a_search_runs(start, place, tiny_pack, tmp_path):
    keys = {"train.epochs": 400, "train.steps": 40}
    (place / "plain.yaml").write_text("scheduler: none\nloss.tokens: {log: [0.1, 1.0]}\n")
    words = ("search", "--space", "plain.yaml", "--trials", 2, "--data", tiny_pack, "--name", "night")
    program = start(*words, set_=keys)
    said = program.wait_for("dashboard http://")
    dashboard, token = re.search(r"dashboard (\S+) \(token in (.+?)\)", said).groups()
    program.wait_for("trial 1: running, epoch 2/")
    with prometheus(dashboard, Path(token).read_text().strip(), tmp_path / "prometheus") as ask:
        filled(ask, 'rate(ray_capetune_images_total{run="night"}[30s]) > 0')
        time.sleep(20)  # what is told once only is gone by then
        answers = {name: ask(query) for name, query in queries().items()}
        rows = {name for panel, name in ((p, n) for p, q in queries().items() for n in metrics_of(q)) if answers[panel]}
        assert {f"ray_capetune_{name}" for name in ALWAYS} <= rows, answers

        (states,) = filled(ask, 'ray_capetune_trials{run="night", state="running"}')
        assert states["value"][1] == "2"
        for metric in ("loss", "mpck4", "epoch", "images_total"):
            found = filled(ask, f"max by (run, trial, rank) (ray_capetune_{metric})")
            assert [row["metric"] for row in sorted(found, key=str)] == [
                {"run": "night", "trial": f"trial-00{number}", "rank": "0"} for number in range(2)
            ]
        history = [json.loads(line) for line in (place / "runs/night/trials/trial-000/history.jsonl").open()]
        scores = {round(row["mpck4"], 6) for row in history}
        (now,) = ask('ray_capetune_mpck4{trial="trial-000"}')
        assert round(float(now["value"][1]), 6) in scores
        median = float(
            filled(ask, "histogram_quantile(0.5, sum by (le) (ray_capetune_step_seconds_bucket))")[0]["value"][1]
        )
        assert 0.001 < median < 5

        there = {row["metric"]["__name__"] for row in ask('{__name__=~"ray_capetune_.+"}')}
        assert {re.sub("_(bucket|sum|count)$", "", name) for name in there} <= {
            f"ray_capetune_{name}" for name in ALWAYS | SOMETIMES
        }
        for name, query in queries().items():
            print(f"{name}: {query}\n    {[(row['metric'], row['value'][1]) for row in answers[name]]}")
    program.signal(signal.SIGINT)
    program.end()


def test_the_dashboard_names_all_eight_metrics_and_no_other():
    named = set().union(*(metrics_of(query) for query in queries().values()))
    assert named == {f"ray_capetune_{name}" for name in ALWAYS | SOMETIMES}
    tree = json.loads(DASHBOARD.read_text())
    asked = [variable["query"] for variable in tree["templating"]["list"]]
    assert asked == ["prometheus", "label_values(ray_capetune_epoch, run)"]


def test_a_metric_of_others_would_be_seen():
    query = 'sum by (run) (rate(ray_train_report_blocked_seconds_sum{run=~"a_b"}[30s])) / up'
    assert metrics_of(query) == {"ray_train_report_blocked_seconds", "up"}
