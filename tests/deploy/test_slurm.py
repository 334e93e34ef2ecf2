"""The Slurm script by shellcheck. What it does is run in test_slurm_job.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "deploy/slurm/capetune.sh"
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


def faults(text: str) -> str:
    return subprocess.run([SHELLCHECK, "--format=gcc", "-"], input=text, capture_output=True, text=True).stdout


def test_the_script_is_clean() -> None:
    assert faults(FILE.read_text()) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('--min-nodes "$SLURM_JOB_NUM_NODES"', "--min-nodes $SLURM_JOB_NUM_NODES", "SC2086"),
        ('command capetune "$@" &', "command capetune $@ &", "SC2068"),
        ("head=$(scontrol", "head = $(scontrol", "SC2283"),
        ("trap again USR1", "trap again KILL", "SC2173"),
        ("#!/usr/bin/env bash", "#!/bin/sh", "SC3040"),
        ("  exit 1\nfi\n", "  exit 1\n", "SC1046"),
    ],
)
def test_a_planted_mistake_is_found(right: str, wrong: str, told: str) -> None:
    text = FILE.read_text()
    assert right in text
    assert told in faults(text.replace(right, wrong, 1))
