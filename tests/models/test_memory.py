"""That freed buffers are used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from capetune.models.memory import keep_freed_memory

# A buffer of 80 MB is filled and freed, again and again; its pages are counted after the third time.
PROGRAM = """
import resource
import torch
from capetune.config import load_config
from capetune.models.backbone import Backbone

def faults():
    for _ in range(3):
        torch.ones(20_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(20_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
Backbone(load_config("demo", None, ["model.backbone.weights=none"]).model)
print(faults())
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="this C library keeps no freed memory")
def test_a_process_with_a_model_uses_freed_buffers_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert 5 * after < before
