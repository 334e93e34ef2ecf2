"""On a GPU: how far steps, generation and evaluation are from their floors, whether compiled training learns the same,
and how many trials a card holds. Each figure is printed, and with --save kept, as soon as it is measured.

Sections run in the order given (all: as they are listed); one that fails says why and the next goes on. --tiny measures
tiny sizes, on a CPU too: not to learn their times, but to see that the script works.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
import traceback
from typing import Any

import gpu_learning
import gpu_speed
import torch
from harness import parser, record

from capetune.models.compiled import programs
from capetune.models.execution import prepare, usual_device

SECTIONS = {
    "ceilings": gpu_speed.ceilings,
    "step": gpu_speed.step,
    "generate": gpu_speed.generation,
    "frozen": gpu_speed.frozen,
    "profile": gpu_speed.profiles,
    "losses": gpu_learning.losses,
    "loading": gpu_learning.loading,
    "evaluate": gpu_learning.evaluation,
    "trials": gpu_learning.trials,
    "scores": gpu_learning.scores,
    "accuracy": gpu_learning.accuracy,
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="all, if none is named")
    made.add_argument("--tiny", action="store_true", help="tiny sizes, on whatever there is")
    made.add_argument("--within", type=float, default=480, metavar="SECONDS", help="begin no section after that")
    made.add_argument("--ways", nargs="+", choices=gpu_speed.WAYS, default=list(gpu_speed.WAYS))
    made.add_argument("--rounds", type=int, default=10)
    arguments = made.parse_args()
    if usual_device() == "cpu" and not arguments.tiny:
        sys.exit("error: there is no GPU here; `make bench` measures on the CPU, --tiny tries the script")
    device, rounds = usual_device(), 2 if arguments.tiny else arguments.rounds
    setting = gpu_speed.Setting(device, arguments.tiny, rounds, tuple(arguments.ways))
    prepare(device)
    begun, failed = time.monotonic(), 0
    about = {"gpu": card(device), "tiny": arguments.tiny}

    def tell(figure: str, **facts: Any) -> None:
        record("gpu", {"figure": figure, **facts, **about}, arguments.save)

    for name in arguments.sections or SECTIONS:
        started = time.monotonic()
        if started - begun > arguments.within:
            print(f"{name}: left out, {arguments.within:.0f} s are over", flush=True)
            continue
        try:
            SECTIONS[name](setting, tell)
        except Exception:
            failed += 1
            traceback.print_exc()
        if device == "cuda":
            torch.cuda.empty_cache()
        tell(f"section {name}", seconds=round(time.monotonic() - started, 1), programs=programs())
    sys.exit(min(failed, 1))


def card(device: str) -> str:
    """Its name and driver."""
    if device == "cpu":
        return f"none ({platform.machine()})"
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
