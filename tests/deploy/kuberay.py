"""What KubeRay's API server takes, strictly: a field that it doesn't know is an error here, where `kubectl` drops it.

The fields and types are those of KubeRay's own CRD reference (docs/reference/api.md of its release v1.7.0), as far as
deploy/ may use them: one that is missing is to be looked up there, and added. Pods and other built-in kinds are checked
against Kubernetes' schemas, which kubernetes-validate brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import kubernetes_validate
import yaml
from packaging.version import Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

KUBERNETES = "1.37"
TOKENS_SINCE = "2.52.0"  # Ray's, without which KubeRay refuses authOptions


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _pod(template: dict[str, Any]) -> dict[str, Any]:
    check_kind({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template})
    return template


Pod = Annotated[dict[str, Any], AfterValidator(_pod)]
Words = dict[str, str]
Count = Annotated[int, Field(ge=0, lt=2**31)]


class Auth(Strict):
    mode: Literal["disabled", "token"] = "token"
    secretName: str | None = None
    enableK8sTokenAuth: bool | None = None


class Autoscaler(Strict):
    version: Literal["v1", "v2"] | None = None
    idleTimeoutSeconds: Count | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None


class Group(Strict):
    rayStartParams: Words
    template: Pod
    resources: Words | None = None
    labels: Words | None = None


class Head(Group):
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None
    enableIngress: bool | None = None


class Workers(Group):
    groupName: str
    replicas: Count = 0
    minReplicas: Count = 0
    maxReplicas: Count = 2**31 - 1
    numOfHosts: Count = 1
    idleTimeoutSeconds: Count | None = None
    priority: int = 0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.minReplicas <= self.replicas <= self.maxReplicas:
            raise ValueError("minReplicas ≤ replicas ≤ maxReplicas doesn't hold")
        return self


class ClusterSpec(Strict):
    headGroupSpec: Head
    workerGroupSpecs: list[Workers] = []
    rayVersion: str | None = None
    authOptions: Auth | None = None
    enableInTreeAutoscaling: bool | None = None
    autoscalerOptions: Autoscaler | None = None
    headServiceAnnotations: Words | None = None
    suspend: bool | None = None

    @model_validator(mode="after")
    def _knows_tokens(self) -> Self:
        if self.authOptions and Version(self.rayVersion or "0") < Version(TOKENS_SINCE):
            raise ValueError(f"authOptions need rayVersion {TOKENS_SINCE} or later")
        return self


class SubmitterConfig(Strict):
    backoffLimit: Count | None = None


class JobSpec(Strict):
    entrypoint: str
    rayClusterSpec: ClusterSpec | None = None
    clusterSelector: Words | None = None
    metadata: Words | None = None
    runtimeEnvYAML: str | None = None
    jobId: str | None = None
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] = "K8sJobMode"
    submitterPodTemplate: Pod | None = None
    submitterConfig: SubmitterConfig | None = None
    entrypointNumCpus: float | None = None
    entrypointNumGpus: float | None = None
    entrypointResources: str | None = None
    backoffLimit: Count = 0
    activeDeadlineSeconds: Annotated[int, Field(ge=1)] | None = None
    preRunningDeadlineSeconds: Annotated[int, Field(ge=1)] | None = None
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: Count = 0
    suspend: bool | None = None
    managedBy: Literal["ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.ttlSecondsAfterFinished and not self.shutdownAfterJobFinishes:
            raise ValueError("ttlSecondsAfterFinished needs shutdownAfterJobFinishes")
        if (self.rayClusterSpec is None) == (self.clusterSelector is None):
            raise ValueError("one of rayClusterSpec and clusterSelector is needed")
        return self


class Metadata(Strict):
    name: Annotated[str, Field(max_length=47, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]  # KubeRay appends to it
    labels: Words | None = None
    annotations: Words | None = None
    namespace: str | None = None


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: ClusterSpec


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: JobSpec


def check_kind(document: dict[str, Any]) -> None:
    """Raises ValueError where a document of a built-in kind has a field or type that Kubernetes doesn't know."""
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        raise ValueError(str(error).splitlines()[0]) from None


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document is not None]


def faults(text: str) -> list[str]:
    """What is wrong with a manifest, a line each."""
    found = []
    for document in documents(text):
        kinds: dict[str, type[Strict]] = {"RayCluster": RayCluster, "RayJob": RayJob}
        kind = kinds.get(document.get("kind", ""))
        try:
            if kind is None:
                check_kind(document)
            else:
                kind.model_validate(document)
        except ValidationError as error:
            found += [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        except ValueError as error:
            found.append(f"{document.get('kind')}: {error}")
    return found + [f"{image}: name a version" for image in _images(text) if not pinned(image)]


def _images(text: str) -> Iterator[str]:
    yield from re.findall(r"^\s*(?:- )?image: *(\S*)", text, re.MULTILINE)


def pinned(image: str) -> bool:
    """Whether an image's name says which one, by digest or by a tag that is meant to stay."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@sha256:" in image or bool(re.fullmatch(r"v?\d+(\.\d+)+[-.\w]*", tag))
