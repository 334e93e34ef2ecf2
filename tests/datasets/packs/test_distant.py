"""Packs on an object store (moto's S3) and on a web server: the same pixels, batches and scores as in a folder."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from capetune.config import DataConfig
from capetune.datasets.episodes.queries import query_images
from capetune.datasets.episodes.stream import train_batches, train_loader
from capetune.datasets.packs.reader import Pack, PackAway, open_pack
from capetune.datasets.packs.writer import pack as write_pack
from capetune.errors import UserError
from capetune.storage.address import open_place
from capetune.storage.place import Place

CONFIG = DataConfig(size=64)


@pytest.fixture(scope="module")
def sent(tiny_pack: Path, bucket: str) -> str:
    address = f"{bucket}/distant/tiny"
    for file in tiny_pack.iterdir():
        open_place(address).send(file, file.name)
    return address


@pytest.fixture(scope="module")
def served(tiny_pack: Path) -> Iterator[str]:
    """A plain web server: it knows no ranges, and gives whole files."""
    handler = functools.partial(_Quiet, directory=tiny_pack.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{tiny_pack.name}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *what: object) -> None:
        pass


@pytest.fixture(params=["sent", "served"])
def distant(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """Seen from a machine that has none of it yet."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "machine"))
    return open_pack(request.getfixturevalue(request.param))


def test_it_is_the_same_pack(distant: Pack, tiny_pack: Path) -> None:
    here = open_pack(tiny_pack)
    assert distant.fingerprint == here.fingerprint
    assert [i.id for i in distant.instances] == [i.id for i in here.instances]
    assert distant.distant
    assert not here.distant


def test_single_crops_are_read_by_their_own_bytes(sent: str, tiny_pack: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "machine"))
    distant, here = open_pack(sent), open_pack(tiny_pack)
    asked: list[int] = []
    read = type(distant.place).read_ranges

    def counted(self, name: str, ranges: list[tuple[int, int]]) -> list[bytes]:
        asked.extend(length for _, length in ranges)
        return read(self, name, ranges)

    monkeypatch.setattr(type(distant.place), "read_ranges", counted)
    chosen = here.instances[::9]
    images = list(query_images(distant, chosen, 64, 1, 8))
    for image, wanted in zip(images, query_images(here, chosen, 64, 1, 8), strict=True):
        np.testing.assert_array_equal(image, wanted)
    assert sum(asked) == sum(here.row(instance.id).length for instance in chosen)
    assert not (tmp_path / "machine").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_training_streams_the_same_batches_from_shards_that_it_keeps(
    distant: Pack, tiny_pack: Path, tmp_path: Path, workers: int
) -> None:
    config = CONFIG.model_copy(update={"workers": workers})
    ways = [train_batches(pack, config, 8, 1, 1, steps=30) for pack in (distant, open_pack(tiny_pack))]
    for there, here in zip(*ways, strict=True):
        assert torch.equal(there.ids, here.ids)
        assert torch.equal(there.images, here.images)
    kept = sorted(file.name for file in (tmp_path / "machine/shards").iterdir() if not file.name.startswith("."))
    assert kept == sorted(shard.sha256 for shard in distant.manifest.shards)


def test_a_pack_is_written_to_an_address_whole(
    tiny_root: Path, bucket: str, tiny_pack: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "machine"))
    address = f"{bucket}/written"
    write_pack(tiny_root / "annotations", tiny_root / "images", address, size=128)
    made = tmp_path / "made"
    write_pack(tiny_root / "annotations", tiny_root / "images", made, size=128)
    assert open_pack(address).fingerprint == open_pack(made).fingerprint
    assert list((tmp_path / "machine").iterdir()) == []
    with pytest.raises(UserError, match=r"s3://.*/written holds something already: remove it or give another --out"):
        write_pack(tiny_root / "annotations", tiny_root / "images", address)


def test_a_web_server_is_not_written_to(served: str, tiny_root: Path) -> None:
    with pytest.raises(UserError, match="a web server is for reading"):
        write_pack(tiny_root / "annotations", tiny_root / "images", f"{served}-other")


def test_what_is_no_pack_is_said(bucket: str, served: str) -> None:
    with pytest.raises(UserError, match=r"s3://packs-and-runs/none is not a capetune pack \(no manifest.json\)"):
        open_pack(f"{bucket}/none")
    with pytest.raises(UserError, match=r"nothing is not a capetune pack \(no manifest.json\)"):
        open_pack(f"{served}/nothing")
    with pytest.raises(UserError, match="there is no bucket other-bucket"):
        open_pack("s3://other-bucket/pack")


@pytest.mark.parametrize("how", ["damaged", "missing", "away"])
def test_a_shard_that_is_spoilt_is_left_out_and_a_store_that_does_not_answer_isn_t(
    tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "machine"))
    place = open_place(f"memory://{how}/tiny")
    for file in tiny_pack.iterdir():
        place.send(file, file.name)
    pack = open_pack(place.address)
    name = pack.manifest.shards[2].name
    if how == "damaged":
        place.write(name, bytes(pack.manifest.shards[2].bytes))
    elif how == "missing":
        place.delete(name)
    else:
        fetch = type(pack.place).fetch

        def away(place: Place, wanted: str, file: Path) -> None:
            if wanted == name:
                raise UserError("the store can't be reached")
            fetch(place, wanted, file)

        monkeypatch.setattr(type(pack.place), "fetch", away)
    loader = train_loader(pack, CONFIG.model_copy(update={"max_corrupt": 0.2}), 8, 3)
    if how == "away":
        with pytest.raises(PackAway, match="the store can't be reached"):
            list(loader.epoch(1, 60))
        return
    assert len(list(loader.epoch(1, 60))) == 60
    left_out = set(loader.left_out().tolist())
    train = {instance.id for group in pack.part(1, "train").instances.values() for instance in group}
    assert left_out == {row.instance.id for row in pack.in_shard(2)} & train
