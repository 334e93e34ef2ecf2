from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from capetune.datasets.mp100.check import check
from capetune.datasets.mp100.doctor import examine
from capetune.datasets.mp100.layout import Linked, left_to_link, link
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.errors import UserError


def found(downloads):
    return examine(downloads.annotations, downloads.folder, {}).where


def quiet(done: int, total: int) -> None:
    pass


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_laid_is_the_official_layout_and_packs(downloads, tmp_path):
    out = tmp_path / "images"
    linked = link(found(downloads), out, quiet)
    assert linked == Linked(hard=len(downloads.images) - 6, written=6)
    assert set(content(out)) == {image["file_name"] for image in downloads.images}
    checked = check(downloads.annotations, out)
    assert (checked.images.found, checked.left_out) == (len(downloads.images), {})
    manifest = pack(downloads.annotations, out, tmp_path / "pack", shards=1)
    assert (manifest.instances, manifest.missing) == (len(downloads.images), ())
    assert len(open_pack(tmp_path / "pack").instances) == len(downloads.images)
    with Image.open(out / "fly_body/0.jpg") as frame:
        assert frame.size == (48, 48)


def test_it_goes_on_where_it_was_killed(downloads, tmp_path):
    out, where = tmp_path / "images", found(downloads)

    def kill(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        link(where, out, kill)
    assert len(content(out)) == 5
    assert len(left_to_link(where, out)) == len(where) - 5
    assert link(where, out, quiet).there == 5
    assert link(where, out, quiet) == Linked(there=len(where))
    assert check(downloads.annotations, out).images.found == len(where)


@pytest.mark.parametrize("name", ["horse_body/000000026602.jpg", "fly_body/0.jpg"])
def test_it_never_overwrites(downloads, tmp_path, name):
    out = tmp_path / "images"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(b"mine")
    with pytest.raises(UserError, match=r"is there and is not .*: nothing was written; give an empty folder"):
        link(found(downloads), out, quiet)
    assert content(out) == {name: b"mine"}


def test_a_link_that_leads_nowhere_is_not_overwritten_either(downloads, tmp_path):
    out = tmp_path / "images"
    (out / "bed").mkdir(parents=True)
    (out / "bed/00000002.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match="is there and is not"):
        link(found(downloads), out, quiet)


def test_nothing_is_written_into_a_download_through_a_link(downloads, tmp_path):
    out = tmp_path / "images"
    out.mkdir()
    before = content(downloads.folder)
    (out / "bed").symlink_to(downloads.folder / "keypoint-5")
    with pytest.raises(UserError, match="is a link out of"):
        link(found(downloads), out, quiet)
    assert content(downloads.folder) == before


def test_pictures_in_place_stay_and_the_gaps_are_filled(downloads):
    (downloads.folder / "fox_body").mkdir()
    os.rename(downloads.folder / "ap-10k/data/000000017645.jpg", downloads.folder / "fox_body/000000017645.jpg")
    linked = link(found(downloads), downloads.folder, quiet)
    assert (linked.there, linked.written) == (1, 6)
    assert examine(downloads.annotations, downloads.folder, {}).total.in_place == len(downloads.images)


def test_on_another_disk_the_links_are_symbolic(downloads):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == downloads.folder.stat().st_dev:
        pytest.skip("needs another disk at /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        linked = link(found(downloads), Path(folder) / "images", quiet)
        assert linked == Linked(symbolic=len(downloads.images) - 6, written=6)
        assert check(downloads.annotations, Path(folder) / "images").images.found == len(downloads.images)


def test_where_nothing_can_be_written_is_said_with_a_cure(downloads, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't write .*; the same command goes on from here"):
        link(found(downloads), tmp_path / "file", quiet)


def test_a_disk_without_links_gets_copies(downloads, tmp_path, monkeypatch):
    def refused(*places: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "symlink", refused)
    out = tmp_path / "images"
    assert link(found(downloads), out, quiet) == Linked(copied=len(downloads.images) - 6, written=6)
    assert check(downloads.annotations, out).images.found == len(downloads.images)
    assert link(found(downloads), out, quiet).there == len(downloads.images)
