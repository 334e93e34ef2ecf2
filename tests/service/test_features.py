from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from capetune.cluster.machines import Cluster
from capetune.config import Config, load_preset
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.errors import UserError
from capetune.events import Event, StepBegan
from capetune.service.features import Keeping
from capetune.storage.scratch import scratch


@pytest.fixture(scope="module")
def pack(tiny_pack: Path) -> Pack:
    return open_pack(tiny_pack)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_preset("demo").with_overrides({"data.size": 64, "model.backbone.weights": "none"})


@pytest.fixture(scope="module")
def shared(pack: Pack, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of one copy, made for several runs."""
    folder = tmp_path_factory.mktemp("shared") / "features"
    keeping = Keeping(1, folder)
    room = keeping.check(config, pack)
    assert keeping.make(folder.parent / "run", config, pack, lambda event: None) == folder
    assert room <= sum(file.stat().st_size for file in folder.rglob("*")) <= room * 1.2 + 10_000
    return folder


def test_a_second_run_computes_nothing_and_leaves_them_there(shared: Path, pack: Pack, config: Config) -> None:
    keeping, heard = Keeping(1, shared), list[Event]()
    assert keeping.check(config, pack) == 0
    assert keeping.make(shared.parent / "other", config, pack, heard.append) == shared
    keeping.end(shared.parent / "other")
    assert heard == []
    assert shared.is_dir()


@pytest.mark.parametrize(
    ("copies", "changed", "what"),
    [
        (2, {}, "copies"),
        (1, {"data.size": 96}, "size"),
        (1, {"data.split": 2, "data.rotation": 3}, "split and rotation"),
        (1, {"model.backbone.stride": 8}, "backbone"),
    ],
)
def test_features_of_something_else_are_refused(
    shared: Path, pack: Pack, config: Config, copies: int, changed: dict, what: str
) -> None:
    with pytest.raises(UserError, match=f"are of another {what}; give another folder, or none"):
        Keeping(copies, shared).check(config.with_overrides(changed), pack)


def test_values_that_features_don_t_rest_on_may_differ(shared: Path, pack: Pack, config: Config) -> None:
    other = {"model.width": 64, "loss.tokens": 1.0, "model.backbone.precision": "bfloat16", "seed": 3}
    assert Keeping(1, shared).check(config.with_overrides(other), pack) == 0


@pytest.mark.parametrize("content", [None, "{"])
def test_a_folder_without_features_is_refused(
    tmp_path: Path, pack: Pack, config: Config, shared: Path, content: str | None
) -> None:
    folder = tmp_path / "features"
    if content is None:
        folder.mkdir()
    else:
        shutil.copytree(shared, folder)
        (folder / "of.json").write_text(content)
    with pytest.raises(UserError, match="holds no kept features; give another folder, or none"):
        Keeping(1, folder).check(config, pack)


def test_what_contradicts_itself_is_refused(tmp_path: Path, pack: Pack, config: Config) -> None:
    with pytest.raises(UserError, match="give --cache-features COPIES too"):
        Keeping(0, tmp_path).check(config, pack)


def test_a_run_s_own_go_with_its_end(tmp_path: Path, pack: Pack, config: Config) -> None:
    keeping, heard = Keeping(1, None), list[Event]()
    folder = keeping.make(tmp_path, config, pack, heard.append)
    assert folder == tmp_path / "features"
    assert heard[0] == StepBegan("features", "one crop of each train instance")
    keeping.end(tmp_path)
    assert not folder.exists()
    assert Keeping(0, None).make(tmp_path, config, pack, heard.append) is None


def test_machines_that_cannot_see_them_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    one, several = (Cluster("http://head:8265", None, ((4, 0),) * count) for count in (1, 2))
    Keeping(1, None).check_shared(tmp_path, several)  # the run's folder is one that all of them see
    with scratch("s3://bucket/runs/mine") as copy:
        with pytest.raises(UserError, match="want a folder that all machines see: give one with --features"):
            Keeping(1, None).check_shared(copy, several)
        Keeping(1, tmp_path).check_shared(copy, several)
        Keeping(1, None).check_shared(copy, one)
