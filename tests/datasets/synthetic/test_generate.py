"""The files `generate` writes: layout, schema, splits, reproducibility, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from capetune.datasets.mp100.files import read_part
from capetune.datasets.synthetic.generate import ID_STEP, VERSION, Kind, generate, kind, scene, split_categories
from capetune.errors import UserError
from capetune.evaluation.baselines import Center, Template
from capetune.pose import PARTS, SPLITS, Category, Instance

CATEGORIES, IMAGES = 12, 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "data"
    generate(out, CATEGORIES, IMAGES, size=96, workers=1)
    return out


def documents(root: Path) -> dict[tuple[int, str], dict]:
    files = {(s, p): root / "annotations" / f"mp100_split{s}_{p}.json" for s in SPLITS for p in PARTS}
    assert set(files.values()) == set((root / "annotations").iterdir())
    return {key: json.loads(file.read_text()) for key, file in files.items()}


def digest(root: Path) -> dict[str, str]:
    return {str(f.relative_to(root)): sha256(f.read_bytes()).hexdigest() for f in root.rglob("*") if f.is_file()}


def test_says_that_it_is_synthetic(root: Path) -> None:
    for document in documents(root).values():
        assert document["info"]["capetune"] == "synthetic"
        assert (document["info"]["seed"], document["info"]["version"]) == (0, VERSION)


def test_annotations_have_the_schema_of_mp100(root: Path) -> None:
    for document in documents(root).values():
        categories = {c["id"]: c for c in document["categories"]}
        images = {i["id"]: i for i in document["images"]}
        assert len(document["annotations"]) == len(images) == IMAGES * len(categories)
        for a in document["annotations"]:
            category, image = categories[a["category_id"]], images[a["image_id"]]
            flat = np.array(a["keypoints"]).reshape(-1, 3)
            assert a["id"] // ID_STEP == a["image_id"] // ID_STEP == category["id"]
            assert a["iscrowd"] == 0
            assert len(flat) == len(category["keypoints"])
            assert a["num_keypoints"] == (flat[:, 2] > 0).sum() >= 4
            assert set(flat[:, 2]) <= {0, 1, 2}
            assert (flat[flat[:, 2] == 0] == 0).all()
            x, y, w, h = a["bbox"]
            assert min(x, y) >= 0
            assert x + w <= image["width"]
            assert y + h <= image["height"]
            assert a["area"] == pytest.approx(w * h, abs=0.01)
        for category in categories.values():
            ends = np.array(category["skeleton"])
            assert 1 <= ends.min() <= ends.max() <= len(category["keypoints"])


def test_images_are_where_the_annotations_say(root: Path) -> None:
    for image in documents(root)[1, "val"]["images"]:
        assert image["file_name"].count("/") == 1
        pixels = cv2.imread(str(root / "images" / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
        assert max(pixels.shape) == 96


def test_the_reader_of_mp100_reads_it_whole(root: Path) -> None:
    for split, part in documents(root):
        loaded = read_part(root / f"annotations/mp100_split{split}_{part}.json", split, part)
        assert loaded.synthetic
        assert len(loaded) == IMAGES * len(loaded.categories)


@pytest.mark.parametrize("categories", [10, 12, 100, 1003])
def test_splits_are_disjoint_and_test_each_category_once(categories: int) -> None:
    splits = split_categories(categories, seed=3)
    for split in SPLITS:
        parts = [splits[split, part] for part in PARTS]
        assert all(parts)
        assert sorted(chain(*parts)) == list(range(categories))
        assert len(parts[0]) >= 0.65 * categories
    assert sorted(chain(*(splits[split, "test"] for split in SPLITS))) == list(range(categories))


def test_bytes_depend_on_the_seed_and_not_on_the_workers(root: Path, tmp_path: Path) -> None:
    for name, workers, seed in (("two", 2, 0), ("other", 1, 1)):
        generate(tmp_path / name, CATEGORIES, IMAGES, size=96, seed=seed, workers=workers)
    assert digest(tmp_path / "two") == digest(root)
    assert not set(digest(tmp_path / "other").values()) & set(digest(root).values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "two"]


def test_an_existing_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="delete it or choose another --out"):
        generate(tmp_path, CATEGORIES, 1)
    with pytest.raises(UserError, match="isn't an empty folder"):
        generate(tmp_path / "mine.txt", CATEGORIES, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("wrong", [{"categories": 9}, {"images": 0}, {"size": 63}, {"workers": 0}, {"seed": -1}])
def test_numbers_that_make_no_data_set_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=rf"{next(iter(wrong))} is .*; choose a number from"):
        generate(tmp_path / "out", **wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("capetune.datasets.synthetic.generate._write_annotations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "out", 10, 1, size=64, workers=1)
    assert not list(tmp_path.iterdir())


def test_the_template_alone_scores_as_on_mp100(tmp_path: Path) -> None:
    """Real test parts: 0.32…0.35 with one shot, centre 0.074. Poses only: no picture is drawn for this."""
    scores: dict[str, list[float]] = {"template": [], "center": []}
    thresholds = np.array([0.05, 0.10, 0.15, 0.20])
    rng = np.random.default_rng(0)
    for index in range(150):
        one = kind(0, index)
        instances = instances_of(one, seed=0, count=10)
        supports, queries = np.array([rng.choice(10, 2, replace=False) for _ in range(40)]).T
        truth = np.stack([i.xy for i in instances])[queries]
        seen = np.stack([i.visible for i in instances])
        for predictor in (Template(), Center()):
            found = predictor.predict(category_of(one), instances, supports[:, None], queries)
            far = np.linalg.norm(found - truth, axis=2) / np.array([i.side for i in instances])[queries, None]
            hit = (far[..., None] < thresholds).mean(axis=2)
            scores[predictor.name].append(float(hit[seen[supports] & seen[queries]].mean()))
    assert 0.30 < np.mean(scores["template"]) < 0.36
    assert np.mean(scores["center"]) < 0.12


def category_of(one: Kind) -> Category:
    return Category(one.id, one.name, one.name, one.shape.graph)


def instances_of(one: Kind, seed: int, count: int) -> list[Instance]:
    placed = [scene(one, seed, i, 160)[0] for i in range(count)]
    return [Instance(i, i, one.id, "", s.image_size, s.box, s.xy, s.visibility > 0) for i, s in enumerate(placed)]


def test_progress_is_heard_category_by_category(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    generate(tmp_path / "out", 10, 1, size=64, workers=1, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(done, 10) for done in range(11)]


def test_a_script_without_a_guard_may_draw_on_several_processes(tmp_path: Path) -> None:
    """Python starts a process by running the script again; this one would then start processes without end."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import __main__, pathlib\n"
        "from capetune.datasets.synthetic.generate import generate\n"
        f"generate(pathlib.Path({str(tmp_path / 'data')!r}), 12, 3, size=96, workers=2)\n"
        "print(pathlib.Path(__main__.__file__).name)\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("mine.py\n", "")
