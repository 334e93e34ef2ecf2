"""The verb without Ray; bad input is in test_bad_input, the real thing in tests/integration."""

from __future__ import annotations

import subprocess
import sys


def test_the_process_that_only_waits_for_workers_imports_neither_torch_nor_timm():
    code = (
        "import sys\n"
        "import capetune.service.train, capetune.training.launch, capetune.training.worker\n"
        "from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer\n"
        "print(sorted({'torch', 'timm', 'torchvision'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
