"""Runs' folders as their commands leave them, made by hand: Optuna's own study, no Ray, no training; a result."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from capetune.config import Config, load_preset
from capetune.datasets.episodes.flips import mirrored
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.evaluation.baselines import ByCategory, Template
from capetune.evaluation.evaluate import evaluate
from capetune.pose import Category, Instance
from capetune.runs.record import Run
from capetune.runs.results import TrialResult, save_result, trial_folder, write_results
from capetune.storage.whole import write_aside
from capetune.tuning.goal import Goal
from capetune.tuning.space import Space
from capetune.tuning.space_file import load_space
from capetune.tuning.storage import open_storage
from capetune.tuning.telling import tell

SPACE = """loss.tokens: {log: [0.05, 2.0]}
model.decoder.layers: {int: [2, 6]}
"""
CONDITIONAL = """model.sequence: {choice: [xy, point]}
model.vocabulary: {choice: [64, 128, 256], when: {model.sequence: xy}}
loss.tokens: {log: [0.05, 2.0]}
loss.coordinates: {log: [1.0, 20.0]}
model.decoder.layers: {int: [1, 6]}
"""
TRADE = """metric: [mpck4, generate_ms]
sampler: nsga2
scheduler: none
loss.tokens: {log: [0.05, 2.0]}
model.decoder.layers: {int: [2, 6]}
"""
LONG = "/data/" + "weights-of-an-older-network/" * 4
ODD = f"""model.backbone.weights: {{choice: [imagenet, '<b>$x_1$</b> [left]', '{LONG}a.pt', '{LONG}b.pt', '</script>']}}
loss.tokens: {{log: [0.05, 2.0]}}
"""
ERROR = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no <b>such</b> thing & more\n'
MakeSearch = Callable[..., Run]


@pytest.fixture
def make_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSearch:
    """make_search(name, ends, space=SPACE, state="completed", peak=peak): the run, in the folder `runs` below the one
    that commands are typed in. ends: how each trial ended, "open" where it hasn't, "stopped" where a budget cut it off.
    peak: overrides → the mPCK4 that training tends to."""
    monkeypatch.chdir(tmp_path)

    def make(
        name: str,
        ends: list[str],
        space: str = SPACE,
        state: Any = "completed",
        peak: Callable[[dict[str, Any]], float] = peak,
        **facts: Any,
    ) -> Run:
        run = Run(tmp_path / "runs" / name, "search", state)
        config = load_preset("demo").with_overrides({"train.epochs": 6})
        run.folder.mkdir(parents=True)
        write_aside(run.folder / "config.yaml", config.to_yaml())
        write_aside(run.folder / "space.yaml", space)
        read = load_space(run.folder / "space.yaml", config)
        goal = Goal.of(read.header)
        known = {"protocol": "val part, sampled as officially, 3 episodes", "shots": 1, "data": "synthetic", "split": 2}
        known |= {"missing_categories": {"train": [], "val": ["tern <body>"]}, "pack": "packs/some"}
        known |= {"goal": list(goal.metrics), "mode": list(goal.modes), **facts}
        storage = open_storage(run.folder, None)
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(study_name=name, storage=storage, sampler=sampler, directions=goal.directions)
        study.enqueue_trial(read.default(config))
        results = [_trial(run.folder, study, read, config, goal, peak, end) for end in ends]
        ended = [result for result in results if result is not None]
        ended.sort(key=lambda result: (result.score is None, -goal.rank(result.score or 0.0)))
        write_results(run.folder, config, known, ended)
        run.save(state, trials=len(ends), config_hash=config.hash(), **known)
        return run

    return make


def peak(values: dict[str, Any]) -> float:
    return 0.6 - 0.04 * abs(values.get("model.decoder.layers", 3) - 5) - 0.05 * abs(values["loss.tokens"] - 0.3)


def _trial(
    run: Path,
    study: optuna.Study,
    space: Space,
    config: Config,
    goal: Goal,
    peak: Callable[[dict[str, Any]], float],
    end: str,
) -> TrialResult | None:
    trial = study.ask()
    values = space.suggest(trial)
    folder = trial_folder(run, trial.number)
    folder.mkdir(parents=True)
    write_aside(folder / "trial.json", json.dumps({"number": trial.number, "overrides": values}))
    epochs = {"completed": 6, "failed": 0}.get(end, 1 + 2 * (trial.number % 2))
    history = [_epoch(epoch, peak(values), values) for epoch in range(1, epochs + 1)]
    write_aside(folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in history))
    if end == "open":
        return None
    best, why, checkpoint = dict(goal.best(history)), {}, None
    if end == "failed":
        write_aside(folder / "error.txt", ERROR)
        file = f"trials/{folder.name}/error.txt"
        why = {"error": "ValueError: no <b>such</b> thing & more", "traceback": file}
    elif end == "completed":
        checkpoint = folder / f"epoch-{epochs:04d}"
        checkpoint.mkdir()
        (checkpoint / "model.safetensors").write_bytes(b"0" * 1_250_000)
    result = TrialResult(
        number=trial.number,
        overrides=values,
        status=end,  # type: ignore[arg-type]
        score=best.get(goal.metric),
        metrics=best,
        history=[(int(row["epoch"]), row[goal.metric]) for row in history],
        seconds=sum(row["seconds"] for row in history),
        config_hash=config.with_overrides(values).hash(),
        checkpoint=str(checkpoint.relative_to(run)) if checkpoint else None,
        twin=0 if trial.number == 1 else None,
        **why,  # type: ignore[arg-type]
    )
    if end != "stopped":
        save_result(run, result)
        tell(study, result, goal)
    return result


def _epoch(epoch: int, peak: float, values: dict[str, Any]) -> dict[str, float]:
    score = peak * (1 - 0.6**epoch)
    metrics = {"epoch": epoch, "mpck4": score, "template_mpck4": 0.339, "pck_0.2": min(1.0, score + 0.2)}
    return {**metrics, "generate_ms": 4.0 + 2 * values.get("model.decoder.layers", 3), "seconds": 30.0 + epoch}


def course(epochs: int, peak: float = 0.6) -> list[dict[str, float]]:
    """A training's history, as `fit` and `keep_epoch` write it; the learning part takes 6 s of each epoch's 12."""
    rows = []
    for epoch in range(1, epochs + 1):
        loss = 3.0 / epoch
        row = {f"{part}_{name}": loss for part in ("train", "val") for name in ("loss", "tokens", "coordinates")}
        row |= {"epoch": epoch, "mpck4": peak * (1 - 0.6**epoch), "template_mpck4": 0.339, "forced_mpck4": 0.6}
        row |= {"pck_0.05": 0.2, "pck_0.2": 0.7, "images": 640.0, "learning_rate": 1e-4 / epoch, "seconds": 11.0}
        row |= {"seconds_data": 3.0, "seconds_copy": 0.1, "seconds_forward": 2.0, "seconds_backward": 3.0}
        row |= {"seconds_optimiser": 1.0, "seconds_steps": 6.5, "seconds_validation": 1.4}
        rows.append(row | {"seconds_checkpoint": 0.5, "seconds_upload": 0.5})
    return rows


@pytest.fixture
def make_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """make_training(name, history, state="completed", **facts): the run, in `runs` below the folder that commands are
    typed in."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, history: list[dict[str, float]], state: Any = "completed", **facts: Any) -> Run:
        run = Run(tmp_path / "runs" / name, "train", state)
        config = load_preset("demo").with_overrides({"train.epochs": 4, "seed": 7})
        known = {"config": config.model_dump(mode="json"), "config_hash": config.hash(), "data": "synthetic"}
        known |= {"split": 2, "pack": "packs/some", "missing_categories": {"train": [], "val": ["tern <body>"]}}
        run.save(state, **{**known, "workers": [1, 2], **facts})
        write_aside(run.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in history))
        return run

    return make


def score(folder: Path, mpck4: float, template: float, shots: int = 1, episodes: object = 3, **more: Any) -> None:
    """What a job of a promotion writes of its test part."""
    tree = {"protocol": "x", "data": "synthetic", "mpck4": mpck4, "pck": {"0.2": mpck4 + 0.1}, "left_out_instances": 0}
    tree |= {"template": {"mpck4": template}, "missing_categories": [], **more}
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / f"eval-{shots}shot-{episodes}x15.json", json.dumps(tree))


@pytest.fixture
def make_promotion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """make_promotion(name, scores, state="completed", **facts): a promotion to splits 1 and 2 with seeds 42 and 43.
    scores: (split, seed) → mPCK4 at one shot; the template has 0.3 and a hundredth of the split. Jobs without a score
    have begun where it is None and haven't where they are left out."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, scores: dict[tuple[int, int], float | None], state: Any = "completed", **facts: Any) -> Run:
        run = Run(tmp_path / "runs" / name, "promote", state)
        jobs = [f"split{split}-seed{seed}" for split in (1, 2) for seed in (42, 43)]
        asked = {"jobs": jobs, "shots": [1], "episodes": 3, "queries": 15, "epochs": 4}
        asked["missing"] = {"1": [], "2": ["tern <body>"]}
        run.save(state, search="<b>bold", pack="packs/some", data="synthetic", asked=asked, **facts)
        for (split, seed), mpck4 in scores.items():
            folder = run.folder / f"split{split}-seed{seed}"
            folder.mkdir()
            write_aside(folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in course(4)))
            if mpck4 is not None:
                score(folder, mpck4, 0.3 + split / 100, missing_categories=[{"id": 1, "name": "tern"}] * (split - 1))
        return run

    return make


class Exchanging(ByCategory):
    """Finds every keypoint but for every third query, where left is taken for right, and the third after, which is
    left at the template's."""

    name = "model"

    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        found = np.stack([instances[query].xy for query in queries])
        found[::3] = found[::3][:, list(mirrored(category.graph) or range(category.graph.size))]
        found[1::3] = Template().predict(category, instances, supports, queries)[1::3]
        return found


@dataclass(frozen=True)
class Scored:
    file: Path
    pack: Pack


@pytest.fixture
def scored(tiny_pack: Path, tmp_path: Path) -> Scored:
    """A result of `Exchanging`, as `capetune eval --json` writes it, and the pack that it scored."""
    pack = open_pack(tiny_pack)
    report = evaluate(pack.part(1, "test"), Exchanging(), 1, episodes=2, queries=5)
    tree = replace(report, pack=pack.place.resolved, data_hash=pack.fingerprint).to_json()
    (tmp_path / "mine.json").write_text(json.dumps(tree))
    return Scored(tmp_path / "mine.json", pack)
