from __future__ import annotations

import subprocess
import sys
import threading

from capetune.storage.hold import free, held

CODE = (
    "import sys; from pathlib import Path; from capetune.storage.hold import held\n"
    "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


def test_a_folder_is_waited_for_until_the_process_that_works_in_it_is_gone(tmp_path):
    command = [sys.executable, "-c", CODE, str(tmp_path / "run")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    got = threading.Event()

    def wait():
        with held(tmp_path / "run"):
            got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not got.wait(0.5)
    other.kill()  # a killed process holds nothing
    other.communicate()
    waiting.join(30)
    assert got.is_set()


def test_whether_a_folder_is_free_is_told_without_waiting(tmp_path):
    assert free(tmp_path / "run")
    with held(tmp_path / "run"):
        assert not free(tmp_path / "run")
    assert free(tmp_path / "run")
