"""Limits as taskset, containers and Slurm set them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from capetune.cluster.processors import usable_cpus

ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def groups(tmp_path, line, **files):
    (tmp_path / "cgroup").write_text(line + "\n")
    for name, text in files.items():
        file = tmp_path / "fs" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "cgroup", tmp_path / "fs"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_taskset_s_limit_is_minded():
    code = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}]); "
    code += "from capetune.cluster.processors import usable_cpus; print(usable_cpus())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_without_groups_it_is_the_affinity(tmp_path):
    assert usable_cpus(tmp_path / "none", tmp_path) == ALL
    assert usable_cpus(*groups(tmp_path, "0::/", cpu_max="max 100000\n")) == ALL


@pytest.mark.parametrize(("quota", "cpus"), [("100000 100000\n", 1), ("150000 100000\n", 1), ("50000 100000\n", 1)])
def test_a_container_s_quota_is_minded_and_rounded_down_but_to_one(tmp_path, quota, cpus):
    assert usable_cpus(*groups(tmp_path, "0::/", cpu_max=quota)) == cpus


def test_a_quota_of_a_group_around_ours_counts_too(tmp_path):
    found = groups(tmp_path, "0::/slurm/job", slurm__cpu_max="100000 100000\n", slurm__job__cpu_max="max 100000\n")
    assert usable_cpus(*found) == 1


def test_a_group_s_path_on_the_host_means_what_is_mounted_here(tmp_path):
    assert usable_cpus(*groups(tmp_path, "0::/docker/4f2a", cpu_max="100000 100000\n")) == 1


def test_the_first_version_of_control_groups_is_read_too(tmp_path):
    line = "4:memory:/job\n3:cpu,cpuacct:/job"
    inner = {"cpu__job__cfs_quota_us": "100000\n", "cpu__job__cfs_period_us": "100000\n"}
    assert usable_cpus(*groups(tmp_path, line, cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n", **inner)) == 1


def test_more_quota_than_processors_gives_no_more(tmp_path):
    assert usable_cpus(*groups(tmp_path, "0::/", cpu_max="99900000 100000\n")) == ALL
