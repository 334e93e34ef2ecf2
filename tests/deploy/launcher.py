"""What `ray up` takes: Ray's own check of a cluster file, and the clouds' own of their machines, which Ray leaves to
them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import jsonschema
import ray.autoscaler
from google.cloud import compute_v1
from google.protobuf.json_format import ParseError
from ray.autoscaler._private.util import prepare_config, validate_config

from .kuberay import pinned


def faults(config: dict[str, Any]) -> list[str]:
    """What is wrong with a cluster file, a line each."""
    try:
        validate_config(prepare_config(config))
    except jsonschema.ValidationError as error:
        return [error.message]
    except (ValueError, AssertionError) as error:
        return [str(error)]
    schema = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text())
    unknown = set(config["provider"]) - set(schema["properties"]["provider"]["properties"])
    if unknown:  # Ray lets them pass
        return [f"provider has no {', '.join(unknown)}"]
    check = {"aws": _aws, "gcp": _gcp}[config["provider"]["type"]]
    found = []
    for name, kind in config["available_node_types"].items():
        found += [f"{name}: {fault}" for fault in check(kind["node_config"])]
    image = config["docker"]["image"]
    return found if pinned(image) else [*found, f"{image}: name a version"]


def _aws(machine: dict[str, Any]) -> list[str]:
    """Against EC2's RunInstances, as boto3 would check it, and its instance types."""
    service: Any = botocore.session.get_session().get_service_model("ec2")
    shape = service.operation_model("RunInstances").input_shape
    report = botocore.validate.ParamValidator().validate(machine | {"MinCount": 1, "MaxCount": 1}, shape)
    found = report.generate_report().splitlines() if report.has_errors() else []
    kind = machine.get("InstanceType")
    return found if kind in shape.members["InstanceType"].enum else [*found, f"EC2 has no {kind}"]


def _gcp(machine: dict[str, Any]) -> list[str]:
    """Against Compute Engine's Instance."""
    try:
        compute_v1.Instance.from_json(json.dumps(machine))
    except (ParseError, TypeError) as error:
        return [str(error).splitlines()[0]]
    return []
