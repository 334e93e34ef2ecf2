"""The image: by hadolint, and by building the wheel of what is copied into it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from capetune.service.submit import copy_package

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/Dockerfile"
HADOLINT = Path(sys.executable).parent / "hadolint"


def faults(text: str) -> list[str]:
    """What is wrong with a Dockerfile, a line each: what hadolint says, an image without its digest, root."""
    done = subprocess.run([HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True)
    found = done.stdout.splitlines()
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        if not re.fullmatch(r"\S+:[\d.]+\S*@sha256:[0-9a-f]{64}", image):
            found.append(f"{image}: name a version and its digest")
    user = re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1:]
    if not user or not re.fullmatch(r"[1-9]\d*", user[0]):  # Kubernetes' runAsNonRoot reads numbers only
        found.append("the last USER is no number, or root")
    return found


def test_the_dockerfile_is_clean() -> None:
    assert faults(FILE.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (r"@sha256:\w+", "", "name a version and its digest"),
        (r"FROM \S+", "FROM python:latest", "DL3007"),
        (r"FROM \S+", "FROM python", "DL3006"),
        (r"USER 1000\n", "", "the last USER is no number, or root"),
        (r"USER 1000", "USER root", "DL3002"),
        (r"USER 1000", "USER capetune", "the last USER is no number"),
        (r"WORKDIR /opt/capetune", "RUN cd /opt/capetune", "DL3003"),
        (r"# hadolint ignore=DL3008\n", "", "DL3008"),
        (r"pip install --constraint constraints.txt '.*'", "pip install ray", "DL3013"),
        (r"COPY cli cli", "ADD cli cli", "DL3020"),
    ],
)
def test_a_planted_mistake_is_found(right: str, wrong: str, told: str) -> None:
    text, many = re.subn(right, wrong, FILE.read_text(), count=1)
    assert many == 1
    assert told in "\n".join(faults(text))


def copied(into: Path) -> None:
    """What the Dockerfile's COPY lines bring into the image, of what the ignore file lets through."""
    ignored = FILE.with_name("Dockerfile.dockerignore").read_text().split()
    assert ignored[0] == "*"
    for line in re.findall(r"^COPY (.*)$", FILE.read_text(), re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            assert f"!{source}" in ignored, f"{source} isn't sent to the builder"
            place = into / target / source if target == "./" else into / target
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
                )
            else:
                shutil.copyfile(ROOT / source, place)


def test_what_is_copied_makes_the_whole_package(tmp_path: Path) -> None:
    copied(tmp_path)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("capetune/")}
    copy_package(tmp_path / "sent")
    sent = {str(file.relative_to(tmp_path / "sent")) for file in (tmp_path / "sent/capetune").rglob("*")}
    assert packed == {name for name in sent if (tmp_path / "sent" / name).is_file()}


def required(extras: set[str]) -> set[str]:
    """The packages that capetune with those extras brings along, as they are installed here."""
    found: set[str] = set()
    queue, done = [("capetune", frozenset(extras))], set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in done:
            continue
        done.add((name, extras))
        for wanted in map(Requirement, metadata.requires(name) or []):
            marker = wanted.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
                found.add(canonicalize_name(wanted.name))
                queue.append((wanted.name, frozenset(wanted.extras)))
    return found


def test_every_package_in_the_image_is_pinned() -> None:
    extras = set(re.findall(r"'\.\[(.*?)\]'", FILE.read_text())[0].split(","))
    pins = {canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
    assert required(extras) - pins == set()
