"""Data for tests: a tiny data set in the layout of MP-100, a pack of it, and the real files where they are at hand."""

from __future__ import annotations

import json
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import hypothesis
import numpy as np
import pytest
import torch

hypothesis.settings.register_profile("untimed", deadline=None)  # tests don't measure time
hypothesis.settings.load_profile("untimed")

SHARED = Path(__file__).parents[2] / "shared" / "data"  # beside the repository, on machines that have it
TINY_CATEGORIES = range(87, 101)  # ids of instances pass 2^53 from 91 up
TINY_IMAGES = 18  # a category; two of them hold two instances, so that an episode of 5 shots and 15 queries fits


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors here are so small that more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What capetune keeps for its next run stays out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPETUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """moto's S3 on loopback. Gives the environment variables by which programs find it; those of this process are set,
    too. It answers Google's XML API as well, which is S3's but for who asks and for how a condition is spelt."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    served, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def app(environ: dict, respond: Callable) -> list[bytes]:
        """One request after the other: moto looks whether a key is there, then writes it, and S3 does both at once."""
        if not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4"):
            who = "Credential=capetune/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
            environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 {who}"
        if environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None) == "0":
            environ["HTTP_IF_NONE_MATCH"] = "*"
        with lock:
            return list(served(environ, respond))

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host, port = server.server_address[:2]
    names = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1"}
    names |= {
        "AWS_ACCESS_KEY_ID": "capetune",
        "AWS_SECRET_ACCESS_KEY": "wholly-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        yield names
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def bucket(s3: dict[str, str]) -> str:
    """The address of a bucket."""
    return f"s3://{made(s3, 'packs-and-runs')}"


def made(s3: dict[str, str], bucket: str) -> str:
    request = urllib.request.Request(f"{s3['AWS_ENDPOINT_URL']}/{bucket}", method="PUT")
    urllib.request.urlopen(request, timeout=60).close()
    return bucket


@pytest.fixture(scope="session")
def google(s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a bucket of Google's, for who reads in the account's file where it is."""
    account = tmp_path_factory.mktemp("google") / "account.json"
    nobody = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
    account.write_text(json.dumps({"gcs_base_url": s3["AWS_ENDPOINT_URL"], **nobody}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_SERVICE_ACCOUNT", str(account))
        patch.setenv("GOOGLE_ALLOW_HTTP", "true")
        yield f"gs://{made(s3, 'googles')}"  # moto doesn't know a hyphen as the client writes it


def write_files(
    root: Path,
    categories: Iterable[dict],
    images: Iterable[dict],
    annotations: Iterable[dict],
    parts: Mapping[tuple[int, str], Iterable[int]],
) -> None:
    """Annotation files of MP-100's format under root/annotations; `parts` says which category ids each one lists."""
    folder = root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    by_id = {category["id"]: category for category in categories}
    images, annotations = list(images), list(annotations)
    for (split, part), ids in parts.items():
        ids = list(ids)
        chosen = [a for a in annotations if a["category_id"] in ids]
        named = {a["image_id"] for a in chosen}
        tree = {
            "info": {"description": "tiny"},
            "images": [image for image in images if image["id"] in named],
            "annotations": chosen,
            "categories": [by_id[id] for id in ids],
        }
        (folder / f"mp100_split{split}_{part}.json").write_text(json.dumps(tree))


def tiny_parts() -> dict[tuple[int, str], list[int]]:
    """Each split tests two categories, validates on the next two and trains on the other ten."""
    ids = list(TINY_CATEGORIES)
    parts = {}
    for split in range(1, 6):
        test, val = ids[2 * split - 2 : 2 * split], ids[2 * split : 2 * split + 2]
        parts[split, "train"] = [id for id in ids if id not in test + val]
        parts[split, "val"], parts[split, "test"] = val, test
    return parts


def tiny_names(id: int, k: int) -> list[str]:
    """Those of every other category tell left from right: the chain of its keypoints is the same from both ends."""
    if id % 2:
        return [f"point {i}" for i in range(k)]
    left = [f"left {i}" for i in range(k // 2)]
    return [*left, *["middle"][: k % 2], *(name.replace("left", "right") for name in reversed(left))]


def write_tiny(root: Path) -> None:
    """14 categories of stick figures, 18 small pictures and 20 instances each, blobs of colour at the keypoints."""
    rng = np.random.default_rng(0)
    categories, images, annotations = [], [], []
    for id in TINY_CATEGORIES:
        k = 4 + id % 6
        names, base = tiny_names(id, k), rng.uniform(0.05, 0.95, (k, 2))
        skeleton = [[i, i + 1] for i in range(1, k)]  # 1-based
        categories.append({"id": id, "name": f"tiny{id}", "keypoints": names, "skeleton": skeleton})
        (root / "images" / f"tiny{id}_body").mkdir(parents=True)
        for n in range(TINY_IMAGES):
            width, height = (int(v) for v in rng.integers(72, 120, 2))
            suffix = "png" if (id, n) == (87, 1) else "jpg"
            name, image_id = f"tiny{id}_body/{n:03d}.{suffix}", id * 10**14 + n
            picture = np.full((height, width, 3), rng.integers(20, 90, 3), dtype=np.uint8)
            for m in range(2 if n < 2 else 1):
                side = rng.uniform(30, 60, 2)
                corner = rng.uniform(2, (width - side[0] - 2, height - side[1] - 2))
                xy = corner + np.clip(base + rng.normal(0, 0.04, base.shape), 0.02, 0.98) * side
                seen = np.where(rng.random(k) < 0.1, 0, 2)
                seen[:2] = 2
                for i in range(k):
                    if seen[i]:
                        hue = np.uint8([[[i * 180 // k, 220, 250]]])
                        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0].tolist()
                        cv2.circle(picture, (round(xy[i, 0]), round(xy[i, 1])), 3, colour, -1)
                annotations.append(
                    {
                        "id": id * 10**14 + 10**6 + m * 10**5 + n,
                        "image_id": image_id,
                        "category_id": id,
                        "keypoints": np.column_stack([xy, seen]).ravel().tolist(),
                        "num_keypoints": int((seen > 0).sum()),
                        "bbox": [*corner, *side],
                        "area": float(side[0] * side[1]),
                        "iscrowd": 0,
                    }
                )
            if (id, n) == (87, 2):
                picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            cv2.imwrite(str(root / "images" / name), picture)
            images.append({"id": image_id, "file_name": name, "width": width, "height": height})
    write_files(root, categories, images, annotations, tiny_parts())


@pytest.fixture(scope="session")
def write_mp100() -> Callable[..., None]:
    """The function `write_files` above."""
    return write_files


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with annotations/ and images/: 14 categories, 280 instances, five splits. Don't write into it."""
    root = tmp_path_factory.mktemp("tiny")
    write_tiny(root)
    return root


@pytest.fixture(scope="session")
def tiny_pack(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a pack of `tiny_root`: 8 shards, inputs up to 128 px. Don't write into it."""
    from capetune.datasets.packs.writer import pack

    out = tmp_path_factory.mktemp("packed") / "tiny"
    pack(tiny_root / "annotations", tiny_root / "images", out, shards=8, size=128)
    return out


@pytest.fixture(scope="session")
def untrained(tiny_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small model on `tiny_pack` that has learnt nothing. Don't write into it."""
    return _checkpoint(tiny_pack, tmp_path_factory.mktemp("untrained"))


@pytest.fixture(scope="session")
def looking(tiny_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a model that looks at images of supports."""
    return _checkpoint(tiny_pack, tmp_path_factory.mktemp("looking"), **{"model.support.source": "both"})


def _checkpoint(tiny_pack: Path, folder: Path, **more: str) -> Path:
    from capetune.config import load_preset
    from capetune.datasets.packs.reader import open_pack
    from capetune.models.estimator import PoseEstimator
    from capetune.runs.checkpoints import CheckpointMeta
    from capetune.runs.facts import describe_data
    from capetune.training.checkpoint import save_checkpoint

    keys = {"data.size": 64, "model.width": 32, "model.heads": 4, "model.backbone.weights": "none", **more}
    config = load_preset("demo").with_overrides(keys)
    torch.manual_seed(0)
    metrics = {"mpck4": 0.1, "score_slope": 0.5, "score_offset": -1.0}
    meta = CheckpointMeta(config, 3, metrics, describe_data(open_pack(tiny_pack), 1))
    save_checkpoint(folder / "epoch-0003", PoseEstimator(config.model), meta, {})
    return folder / "epoch-0003"


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder of mp100-real-images (annotations/ and images/); skips where it is absent."""
    return _shared("mp100-real-images")


@pytest.fixture(scope="session")
def real_annotations() -> Path:
    """The folder of real MP-100 annotation files; skips where it is absent."""
    return _shared("mp100-annotations")


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/data/{name}, which is not part of the project")
    return folder
