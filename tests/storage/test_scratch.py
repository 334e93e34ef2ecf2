from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.storage.scratch import address_of, named, scratch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("address", ["s3://bucket/some runs/ü~%2F", "gs://b/x", "memory://m/" + "deep/" * 20])
def test_a_copy_s_path_tells_what_it_is_a_copy_of(address: str) -> None:
    with scratch(address) as folder:
        assert list(folder.iterdir()) == []
        assert address_of(folder) == address.rstrip("/")
        assert address_of(folder / "one/trials") == address.rstrip("/") + "/one/trials"
        said = f"{folder}/one/run.json is cut; `capetune runs mend one --runs {folder}` mends it"
        here = address.rstrip("/")
        assert named(said) == f"{here}/one/run.json is cut; `capetune runs mend one --runs {here}` mends it"
    assert not folder.exists()


def test_other_paths_are_no_copies(tmp_path: Path, cache: Path) -> None:
    for path in (tmp_path, cache, cache / "copies", Path("runs/one"), Path("/")):
        assert address_of(path) is None
        assert named(f"in {path}") == f"in {path}"


def test_what_killed_processes_left_is_removed_and_other_copies_are_not(cache: Path) -> None:
    code = (
        "import sys; from capetune.storage.scratch import scratch\n"
        "with scratch('s3://b/runs') as folder: (folder / 'x').touch(); print(folder, flush=True); sys.stdin.read()"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, alive = (Path(other.stdout.readline().strip()) for other in others if other.stdout is not None)
    others[0].kill()
    others[0].wait()
    with scratch("s3://b/runs") as first, scratch("s3://b/runs") as second:
        assert first != second
        assert not killed.exists()
        assert (alive / "x").exists()
    others[0].communicate()
    others[1].communicate()
    assert list((cache / "copies").iterdir()) == []


def test_an_address_that_makes_no_name_is_refused() -> None:
    with pytest.raises(UserError, match="is too long an address"), scratch("s3://b/" + "ü" * 100):
        pass
