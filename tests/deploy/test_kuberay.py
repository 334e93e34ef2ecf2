"""The manifests against KubeRay's and Kubernetes' schemas, and against what they start."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from capetune.cli.asked import asked_by
from capetune.config import load_config
from capetune.service.search import SearchRequest
from capetune.tuning.space_file import load_space

from .kuberay import documents, faults

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kuberay"
FILES = sorted(FOLDER.glob("*.yaml"))
JOB, CLUSTER = (FOLDER / name for name in ("rayjob.yaml", "raycluster.yaml"))


def one(file: Path, kind: str) -> Any:
    (found,) = [document for document in documents(file.read_text()) if document["kind"] == kind]
    return found


def clusters() -> list[Any]:
    return [one(CLUSTER, "RayCluster")["spec"], one(JOB, "RayJob")["spec"]["rayClusterSpec"]]


def pods() -> list[Any]:
    return [
        group["template"]["spec"] for spec in clusters() for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_manifests_fit_the_schemas(file: Path) -> None:
    assert faults(file.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("backoffLimit: 4", "backOffLimit: 4", "spec.backOffLimit: Extra inputs are not permitted"),
        ("backoffLimit: 4", 'backoffLimit: "4"', "spec.backoffLimit: Input should be a valid integer"),
        ("backoffLimit: 4", "backoffLimit: -1", "spec.backoffLimit: Input should be greater than or equal to 0"),
        ('num-cpus: "0"', "num-cpus: 0", "rayStartParams.num-cpus: Input should be a valid string"),
        ("mode: token", "mode: tokens", "authOptions.mode: Input should be 'disabled' or 'token'"),
        ("rayVersion: 2.60.0", "rayVersion: 2.51.0", "authOptions need rayVersion 2.52.0"),
        ("minReplicas: 2", "minReplicas: 3", "minReplicas ≤ replicas ≤ maxReplicas doesn't hold"),
        ("replicas: 2", "replica: 2", "workerGroupSpecs.0.replica: Extra inputs are not permitted"),
        ("shutdownAfterJobFinishes: true", "shutdownAfterJobFinishes: false", "needs shutdownAfterJobFinishes"),
        ("runAsNonRoot: true", "runAsNoneRoot: true", "'runAsNoneRoot' was unexpected"),
        ("runAsUser: 1000", 'runAsUser: "1000"', "'1000' is not of type 'integer'"),
        ("sizeLimit: 4Gi", "limit: 4Gi", "'limit' was unexpected"),
        ("mountPath: /etc/capetune", "path: /etc/capetune", "'mountPath' is a required property"),
        ("\ndata:", "\ndate:", "'date' was unexpected"),
        ("decoder\n  # labels", "Decoder\n  # labels", "metadata.name: String should match pattern"),
        ("capetune:0.1.0", "capetune:latest", "capetune:latest: name a version"),
        ("capetune:0.1.0", "capetune", "capetune: name a version"),
    ],
)
def test_a_planted_mistake_is_found(right: str, wrong: str, told: str) -> None:
    text = JOB.read_text()
    assert right in text
    assert told in "\n".join(faults(text.replace(right, wrong, 1)))


def test_the_head_has_no_trial_and_asks_for_a_token() -> None:
    for spec in clusters():
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        assert spec["authOptions"] == {"mode": "token", "secretName": "capetune-token"}


def test_gpus_are_on_spot_machines_and_the_head_is_not() -> None:
    for spec in clusters():
        (workers,) = spec["workerGroupSpecs"]
        head, worker = (group["template"]["spec"] for group in (spec["headGroupSpec"], workers))
        assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"
        assert worker["nodeSelector"] == {"eks.amazonaws.com/capacityType": "SPOT"}
        assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]
        assert head["nodeSelector"] == {"eks.amazonaws.com/capacityType": "ON_DEMAND"}


def test_no_pod_runs_as_root_and_each_has_shared_memory_and_the_bucket_s_account() -> None:
    (account,) = documents((FOLDER / "serviceaccount.yaml").read_text())
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["serviceAccountName"] == account["metadata"]["name"]
        (container,) = pod["containers"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes.pop(mount["name"]) for mount in container["volumeMounts"]}
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        assert not volumes


def test_versions_are_those_of_the_image() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    for spec in clusters():
        assert spec["rayVersion"] == pins["ray"]


def test_the_job_s_cluster_is_the_one_to_send_to() -> None:
    """But for what the job's head reads."""
    kept, own = clusters()
    head = own["headGroupSpec"]["template"]["spec"]
    (asked,) = [volume for volume in head["volumes"] if volume["name"] == "asked"]
    head["volumes"].remove(asked)
    head["containers"][0]["volumeMounts"] = head["containers"][0]["volumeMounts"][1:]
    assert own == kept
    assert asked["configMap"]["name"] == one(JOB, "ConfigMap")["metadata"]["name"]


def test_the_entrypoint_is_a_search_that_may_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, files = one(JOB, "RayJob")["spec"], one(JOB, "ConfigMap")["data"]
    assert not set("$`;|&<>") & set(job["entrypoint"])  # it passes through the shell of the pod that submits it
    program, *words = shlex.split(job["entrypoint"])
    request = asked_by(words)
    assert program == "capetune"
    assert isinstance(request, SearchRequest)
    assert request.resume_or_start
    assert job["metadata"] == {"capetune_verb": "search", "capetune_run": request.name}
    assert yaml.safe_load(job["runtimeEnvYAML"]) == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert {f"/etc/capetune/{name}" for name in files} == {str(request.space), str(request.config)}
    config = load_config(request.preset, tmp_path / "config.yaml", [])
    assert config.train.epochs == 30
    assert load_space(tmp_path / "space.yaml", config).header.budget.trials == 40
