"""What KubeRay makes of a manifest, on machines of `nodes`: a pod's environment, files and `ray start`, and the shell
line by which its submitter sends the entrypoint (ray-operator/controllers/ray/common/job.go)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from .nodes import Node


def start_pod(node: Node, group: Any, address: str | None, given: Mapping[str, str], files: Mapping[str, str]) -> None:
    """A head where address is None, else a worker of one CPU and no GPU, whatever its limits are. given: environment
    variables that a cluster adds; files: of volumes that aren't empty, by their path."""
    (container,) = group["template"]["spec"]["containers"]
    for mount in container["volumeMounts"]:
        assert node.run("mkdir", "-p", mount["mountPath"]).returncode == 0
    for path, text in files.items():
        assert node.run("bash", "-c", 'printf %s "$1" >"$0"', path, text).returncode == 0
    env = {each["name"]: each["value"] for each in container["env"]} | dict(given)
    options = [f"--{key}={value}" for key, value in group["rayStartParams"].items()]
    role = ["--head"] if address is None else [f"--address={address}:6379", "--num-cpus=1", "--num-gpus=0"]
    node.start("ray", "start", "--block", *role, *options, env=env)


def submission(spec: Any, dashboard: str, id: str) -> list[str]:
    """What the submitter's container runs."""
    runtime = json.dumps(json.dumps(yaml.safe_load(spec["runtimeEnvYAML"])))
    metadata = json.dumps(json.dumps(spec["metadata"]))
    ray = f"ray job {{}} --address {dashboard}"
    sent = f"--no-wait --runtime-env-json {runtime} --metadata-json {metadata} --submission-id {id}"
    line = f"if ! {ray.format('status')} {id} >/dev/null 2>&1 ; then {ray.format('submit')} {sent} -- "
    line += f"{spec['entrypoint'].strip()} ; fi ; {ray.format('logs')} --follow {id}"
    return ["bash", "-c", line]
