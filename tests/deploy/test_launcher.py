"""The files for `ray up`, against Ray's and the clouds' own checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config

from .launcher import faults

FOLDER = Path(__file__).parents[2] / "deploy/ray-up"
NAMES = ["aws-p4d", "gcp-a2"]


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def test_all_files_are_looked_at() -> None:
    assert sorted(file.stem for file in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_cluster_files_are_what_ray_and_the_cloud_take(name: str) -> None:
    assert faults(read(name)) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong", "told"),
    [
        ("aws-p4d", "max_workers: 2\nidle", "max_worker: 2\nidle", "'max_worker' was unexpected"),
        ("aws-p4d", "max_workers: 2\nidle", "max_workers: two\nidle", "'two' is not of type 'integer'"),
        ("aws-p4d", "head_node_type: head", "head_node_type: heat", "`head_node_type` must be one of"),
        ("aws-p4d", "run_options", "run_option", "'run_option' was unexpected"),
        ("aws-p4d", "MarketType: spot", "MarketTyp: spot", 'Unknown parameter in InstanceMarketOptions: "MarketTyp"'),
        ("aws-p4d", "VolumeSize: 200", "VolumeSize: 200G", "Invalid type for parameter BlockDeviceMappings[0]"),
        ("aws-p4d", "p4d.24xlarge\n", "p4d.42xlarge\n", "p4d: EC2 has no p4d.42xlarge"),
        ("aws-p4d", "capetune:0.1.0", "capetune:latest", "capetune:latest: name a version"),
        ("gcp-a2", "project_id: my-project", "project: my-project", "provider has no project"),
        ("gcp-a2", "provisioningModel", "provisionModel", 'no field named "provisionModel"'),
        ("gcp-a2", "diskSizeGb: 500", "diskSizeGb: large", "a2: Failed to parse disks field"),
        ("gcp-a2", "container_name: capetune", "container: capetune", "Must provide a container & image name"),
    ],
)
def test_a_planted_mistake_is_found(name: str, right: str, wrong: str, told: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    assert right in text
    assert told in "\n".join(faults(yaml.safe_load(text.replace(right, wrong, 1))))


@pytest.mark.parametrize("name", NAMES)
def test_the_head_has_no_trial_and_asks_for_a_token(name: str) -> None:
    config = read(name)
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0
    start = config["head_start_ray_commands"][-1]
    assert "--num-cpus=0" in start
    assert "--dashboard-host=127.0.0.1" in start  # by a tunnel only
    assert "--env=RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"/home/capetune/.ray": "~/capetune-token"}


@pytest.mark.parametrize("name", NAMES)
def test_the_workers_are_spot_machines_and_the_head_is_not(name: str) -> None:
    config = read(name)
    head = config["available_node_types"].pop(config["head_node_type"])
    (worker,) = config["available_node_types"].values()
    assert worker["resources"]["GPU"] == 8
    assert "spot" in str(worker["node_config"]).lower()
    assert "spot" not in str(head["node_config"]).lower()


@pytest.mark.parametrize("name", NAMES)
def test_ray_adds_no_installation_of_its_own(name: str) -> None:
    """Its defaults fetch a nightly wheel where `ray` isn't found."""
    prepared = prepare_config(read(name))
    commands = [command for part in ("setup", "head_setup", "worker_setup") for command in prepared[f"{part}_commands"]]
    assert len(commands) == 1
    assert commands[0].startswith("pip install --user ")
    assert commands[0].count("==") == 1
