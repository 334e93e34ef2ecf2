from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from capetune.tuning.preflight import Plan
from capetune.tuning.tuner import resources

PROGRAM = """
import os, sys, time
import ray

ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)

@ray.remote
class Trial:
    def where(self):
        return os.environ["CUDA_VISIBLE_DEVICES"]

share = dict(num_cpus=float(sys.argv[1]), num_gpus=float(sys.argv[2]))
trials = [Trial.options(**share).remote() for _ in range(3)]
print(ray.get([trial.where.remote() for trial in trials], timeout=60))
print(ray.available_resources().get("GPU", 0) < 0.01)
"""


@pytest.mark.parametrize(
    ("plan", "wanted"),
    [
        (Plan(1, 1, 2, "cpu"), {"CPU": 2}),
        (Plan(1, 1, 2, "cuda"), {"CPU": 2, "GPU": 1}),
        (Plan(4, 1, 2, "cuda", 4), {"CPU": 2, "GPU": 0.25}),
        (Plan(1, 2, 2, "cuda"), {"node:__internal_head__": 0.001}),
    ],
)
def test_what_a_trial_reserves(plan: Plan, wanted: dict[str, float]) -> None:
    assert resources(plan) == wanted


@pytest.mark.deploy
def test_three_trials_that_share_a_pretended_gpu_run_at_once_and_see_the_same() -> None:
    share = resources(Plan(3, 1, 1, "cuda", 3))
    command = [sys.executable, "-c", PROGRAM, str(share["CPU"]), str(share["GPU"])]
    with tempfile.TemporaryDirectory() as folder:  # Ray's sockets want a short path
        environment = os.environ | {"RAY_TMPDIR": folder, "HOME": folder}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ran.stdout.splitlines()[-2:] == ["['0', '0', '0']", "True"], ran.stderr[-2000:]
