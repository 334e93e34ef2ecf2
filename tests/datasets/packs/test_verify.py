"""A pack with one thing wrong, in a folder and on an object store."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from capetune.datasets.packs.manifest import MANIFEST, file_sha256
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.verify import Fault, verify
from capetune.errors import UserError
from capetune.storage.address import open_place

SHARD = "shard-00003.tar"


class Copy:
    """A pack that may be harmed, and verified where it is or from elsewhere."""

    def __init__(self, folder: Path, away: str | None) -> None:
        self.folder, self.away = folder, away
        self.rows = open_pack(folder).in_shard(3)

    def flip(self, offset: int) -> None:
        with (self.folder / SHARD).open("r+b") as stream:
            stream.seek(offset)
            byte = stream.read(1)[0]
            stream.seek(offset)
            stream.write(bytes([byte ^ 255]))

    def rewrite(self, without: str = "", **instead: bytes) -> None:
        """The shard anew, its members in another's place by name, and a manifest that knows its bytes."""
        file = self.folder / SHARD
        with tarfile.open(file) as tar:
            members = [(member, tar.extractfile(member).read()) for member in tar]
        with tarfile.open(file, "w") as tar:
            for member, content in members:
                if member.name != without:
                    content = instead.get(member.name, content)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        tree = json.loads((self.folder / MANIFEST).read_text())
        tree["shards"][3] |= {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
        (self.folder / MANIFEST).write_text(json.dumps(tree))

    def faults(self) -> list[Fault]:
        address: Path | str = self.folder
        if self.away is not None:
            address = f"{self.away}/{self.folder.parent.name}"
            for file in self.folder.iterdir():
                open_place(address).send(file, file.name)
        found = verify(address)
        assert (found.pack, found.shards) == (str(address), 8)
        return list(found.faults)


@pytest.fixture(params=["folder", "s3"])
def copy(request, tiny_pack, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    away = request.getfixturevalue("bucket") if request.param == "s3" else None
    yield Copy(shutil.copytree(tiny_pack, tmp_path / "copy"), away)
    assert not [file for file in (tmp_path / "cache").glob("**/*") if file.is_file()], "copies are removed"


def test_a_sound_pack_is_read_to_its_end(copy):
    assert copy.faults() == []


def test_progress_is_told_by_samples(tiny_pack):
    told = []
    found = verify(tiny_pack, lambda done, total: told.append((done, total)))
    assert told == [(done, 280) for done in range(281)]
    assert found.to_json() == {"pack": str(tiny_pack), "shards": 8, "samples": 280, "faults": []}


def test_a_flipped_byte_of_a_picture_s_head_names_shard_and_sample(copy):
    copy.flip(copy.rows[5].offset)
    assert copy.faults() == [
        Fault(SHARD, None, "isn't what the manifest says (sha256)"),
        Fault(SHARD, copy.rows[5].instance.id, "its jpg can't be decoded"),
    ]


def test_a_flipped_byte_that_still_decodes_names_the_shard(copy):
    row = copy.rows[5]
    copy.flip(row.offset + row.length - 3)
    assert copy.faults()[0] == Fault(SHARD, None, "isn't what the manifest says (sha256)")


def test_a_flipped_byte_of_an_annotation_names_shard_and_sample(copy):
    with tarfile.open(copy.folder / SHARD) as tar:
        member = tar.getmember(f"{copy.rows[2].instance.id}.json")
        content = tar.extractfile(member).read()
    copy.flip(member.offset_data + content.index(b'"box"') + 8)
    assert copy.faults()[1:] == [Fault(SHARD, copy.rows[2].instance.id, "its json isn't what instances.jsonl says")]


def test_of_a_cut_shard_the_samples_behind_the_cut_are_named(copy):
    whole = (copy.folder / SHARD).stat().st_size
    cut = copy.rows[20].offset + 10
    os.truncate(copy.folder / SHARD, cut)
    first, second, *lost = copy.faults()
    assert first == Fault(SHARD, None, f"has {cut} bytes, not {whole}")
    assert second.what.startswith("can't be read as a tar")
    assert {fault.sample for fault in lost} == {row.instance.id for row in copy.rows[20:]}


def test_a_missing_shard_is_named(copy):
    (copy.folder / SHARD).unlink()
    assert copy.faults() == [Fault(SHARD, None, "is missing")]


@pytest.mark.parametrize("kind", ["jpg", "json"])
def test_a_missing_member_is_named_though_the_manifest_knows_the_shard(copy, kind):
    """The last one's, so that no other has moved."""
    id = copy.rows[-1].instance.id
    copy.rewrite(without=f"{id}.{kind}")
    found = copy.faults()
    assert Fault(SHARD, id, f"its {kind} is missing") in found
    assert all(fault.sample in (id, None) for fault in found)


def test_members_that_have_moved_are_named(copy):
    copy.rewrite(without=f"{copy.rows[0].instance.id}.jpg")
    assert {fault.what for fault in copy.faults()[1:]} == {"its jpg isn't where instances.jsonl says"}


def test_a_line_of_the_index_that_is_none_is_named(copy):
    file = copy.folder / "instances.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[4] = b"{" + lines[4][1:].replace(b'"id"', b'"ib"')
    file.write_bytes(b"".join(lines))
    first, *counts = copy.faults()
    assert first == Fault("instances.jsonl", None, "line 5 is no instance")
    assert counts[0].what == "has 279 instances, not 280"
    assert counts[1].what == "instances.jsonl has 34 samples of it, not 35"


def test_a_missing_index_is_named(copy):
    (copy.folder / "instances.jsonl").unlink()
    assert copy.faults()[0] == Fault("instances.jsonl", None, "is missing")


def test_what_is_no_pack_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a capetune pack"):
        verify(tmp_path)
