from __future__ import annotations

from pathlib import Path

from capetune.reports.earlier import earlier_lines
from capetune.tuning.goal import Goal

GOAL = Goal(("mpck4",), ("max",))
FACTS = {"warm_start": [{"search": "night", "trials": 3, "points": 1, "best": 2, "score": 0.52}]}


def test_whose_results_count_is_said_and_when_one_is_better_than_any_here():
    known = "3 trials of night known to the sampler; 1 point of night tried first; its best, trial 2, has mPCK4 0.520"
    assert earlier_lines(Path("runs/new"), FACTS, GOAL, 0.6) == [known]
    better = f"{known}, better than any here: capetune train --best night"
    assert earlier_lines(Path("runs/new"), FACTS, GOAL, 0.5) == [better]
    assert earlier_lines("s3://b/runs/new", FACTS, GOAL, None) == [f"{better} --runs s3://b/runs"]
    assert earlier_lines(Path("runs/new"), {}, GOAL, 0.5) == []
