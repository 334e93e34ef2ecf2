"""`capetune eval` of a checkpoint."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.config import load_preset
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack as write_pack
from capetune.errors import UserError
from capetune.evaluation.protocol import OTHERS
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.facts import describe_data
from capetune.runs.record import Run
from capetune.training.checkpoint import save_checkpoint

KEYS = {"data.size": 64, "model.width": 32, "model.heads": 4, "model.backbone.weights": "none"}
FEW = ("--episodes", "1", "--queries", "3")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_pack):
    """Runs: one older, one newer with two checkpoints, of an untrained model on split 1."""
    runs = tmp_path_factory.mktemp("runs")
    config = load_preset("demo").with_overrides(KEYS)
    torch.manual_seed(0)
    model = PoseEstimator(config.model)
    data = describe_data(open_pack(tiny_pack), 1)
    for run, started, scores in (("old", "2026-01-01", [0.9]), ("new", "2026-01-02", [0.1, 0.3, 0.2])):
        Run(runs / run, "train", "completed").save("completed", started=started)
        for epoch, score in enumerate(scores, 1):
            meta = CheckpointMeta(config, epoch, {"mpck4": score}, data)
            save_checkpoint(runs / run / f"epoch-{epoch:04d}", model, meta, {})
    return runs


def evaluate(*arguments):
    result = CliRunner().invoke(app, ["eval", *map(str, arguments), *FEW], catch_exceptions=False)
    assert result.exit_code == 0
    return result


def test_without_a_checkpoint_the_best_of_the_latest_run_is_taken_and_said(runs):
    result = evaluate("--split", 1, "--runs", runs)
    assert f"best checkpoint of the latest run: {runs}/new/epoch-0002" in result.stderr
    assert f"checkpoint {runs}/new/epoch-0002, epoch 2, config" in result.stdout


def test_split_and_data_are_the_checkpoints_where_none_are_given_and_its_epoch_is_named(runs, tiny_pack):
    result = evaluate("--runs", runs, "--json", "-")
    assert f"best checkpoint of the latest run: {runs}/new/epoch-0002, epoch 2" in result.stderr
    report = json.loads(result.stdout)
    assert (report["split"], report["epoch"]) == (1, 2)
    assert report["data_hash"] == open_pack(tiny_pack).fingerprint
    saved = json.loads((runs / "new/epoch-0002/meta.json").read_text())["files"]["model.safetensors"]["sha256"]
    assert report["weights_hash"] == saved[:12]


def test_test_categories_are_unseen_and_its_own_train_part_is_called_seen(runs):
    result = evaluate("--runs", runs, "--json", "-")
    assert "unseen: none of the 2 categories and 36 pictures was trained on" in result.stderr
    assert json.loads(result.stdout)["seen"]["pictures"] == 0
    result = evaluate("--runs", runs, "--part", "train", "--json", "-")
    report = json.loads(result.stdout)
    counts = "trained on 10 of 10 categories and 180 of 180 pictures"
    assert report["protocol"] == f"sampled as officially, 1 episode of 3 queries a category, {OTHERS}, {counts}"
    assert (report["seen"]["pictures"], len(report["seen"]["categories"])) == (180, 10)
    assert f"SEEN: the model was {counts}" in result.stderr
    assert "unseen" not in result.stderr


def test_another_pack_with_the_same_pictures_under_other_names_is_called_seen(runs, tiny_root, tmp_path):
    """What split 1 trains on, as the test part of another data set whose files and ids are other ones."""
    tree = json.loads((tiny_root / "annotations/mp100_split1_train.json").read_text())
    for number, image in enumerate(tree["images"]):
        name = f"renamed/{number}.{image['file_name'].rsplit('.')[-1]}"
        (tmp_path / "images/renamed").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tiny_root / "images" / image["file_name"], tmp_path / "images" / name)
        image["file_name"] = name
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/mp100_split1_test.json").write_text(json.dumps(tree))
    write_pack(tmp_path / "annotations", tmp_path / "images", tmp_path / "other", shards=2, size=64)
    report = json.loads(evaluate("--runs", runs, "--data", tmp_path / "other", "--json", "-").stdout)
    assert report["seen"]["pictures"] == report["seen"]["of_pictures"] == 180
    assert report["seen"]["examples"][0].startswith("renamed/")
    assert "trained on 10 of 10 categories and 180 of 180 pictures" in report["protocol"]


@pytest.mark.parametrize(
    ("where", "said"), [("gone", "doesn't exist"), (None, "has changed since the model was trained")]
)
def test_where_the_data_it_was_trained_on_is_gone_or_changed_nothing_is_called_unseen(
    runs, tiny_pack, tmp_path, where, said
):
    shutil.copytree(runs / "new/epoch-0001", tmp_path / "moved")
    meta = json.loads((tmp_path / "moved/meta.json").read_text())
    pack = tmp_path / where if where else tiny_pack
    meta["data"] |= {"pack": str(pack), "data_hash": "0" * 12}
    (tmp_path / "moved/meta.json").write_text(json.dumps(meta))
    result = evaluate("--checkpoint", tmp_path / "moved", "--data", tiny_pack, "--json", "-")
    report = json.loads(result.stdout)
    assert report["seen"]["known"] is False
    assert report["protocol"].endswith("seen or unseen unknown")
    assert "isn't known" in result.stderr
    assert f"{pack} {said}" in result.stderr


def test_a_models_predictions_have_its_scores_and_score_the_same_from_the_file(runs, tiny_pack, tmp_path):
    file = tmp_path / "pairs.json"
    report = json.loads(evaluate("--runs", runs, "--predictions", file, "--json", "-").stdout)
    points = [entry["keypoints"][2::3] for entry in json.loads(file.read_text())]
    assert all(0 < score < 1 for scores in points for score in scores)
    data = ("--split", 1, "--data", tiny_pack, "--from-predictions", file)
    again = json.loads(evaluate(*data, "--json", "-").stdout)
    same = ("pck", "mpck4", "mpck5", "auc", "nme", "epe", "per_category", "intervals", "pairs_hash", "template")
    assert {name: again[name] for name in same} == {name: report[name] for name in same}
    assert again["seen"] is None


def test_its_result_becomes_a_page_with_pictures_of_the_pack(runs, tiny_pack, tmp_path):
    result = tmp_path / "mine.json"
    evaluate("--runs", runs, "--json", result)
    tree = json.loads(result.read_text())
    assert tree["pack"] == str(tiny_pack)
    made = CliRunner().invoke(app, ["report", str(result)], catch_exceptions=False)
    assert made.exit_code == 0
    assert f"template {tree['template']['mpck4']:.3f} on the same {tree['pairs']} pairs" in made.stdout
    page = (tmp_path / "mine.html").read_text()
    assert page.count("data:image/jpeg") == sum(map(len, tree["examples"].values())) > 0


def test_a_result_of_annotations_takes_its_pictures_from_the_pack_of_the_same_pairs(tiny_root, tiny_pack, tmp_path):
    result = tmp_path / "center.json"
    evaluate("--split", 1, "--predictor", "center", "--annotations", tiny_root / "annotations", "--json", result)
    with pytest.raises(UserError, match="is of annotations alone: give --data the pack"):
        CliRunner().invoke(app, ["report", str(result)], catch_exceptions=False)
    words = ["report", str(result), "--data", str(tiny_pack), "--out", str(tmp_path / "page.html")]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text()


def test_the_report_names_the_model_and_has_the_template_on_the_same_pairs(runs):
    checkpoint = runs / "old/epoch-0001"
    report = json.loads(evaluate("--split", 1, "--checkpoint", checkpoint, "--json", "-").stdout)
    assert report["predictor"] == "model"
    assert report["checkpoint"] == str(checkpoint)
    assert report["config_hash"] == load_preset("demo").with_overrides(KEYS).hash()
    assert report["pairs"] == 2 * 3
    assert report["template"]["mpck4"] > report["mpck4"]  # an untrained model knows nothing


def test_a_split_it_was_not_trained_on_is_refused_also_for_val(runs):
    for part in ("test", "val"):
        with pytest.raises(UserError, match="was trained on split 1: it may have seen categories that split 2"):
            evaluate("--split", 2, "--part", part, "--runs", runs)


def test_its_own_validation_part_can_be_scored(runs, tiny_pack):
    result = evaluate("--split", 1, "--part", "val", "--runs", runs, "--data", tiny_pack)
    assert "split 1 val, 1-shot" in result.stdout


def test_an_ablation_scores_the_same_pairs_with_wrong_supports(runs):
    result = evaluate("--split", 1, "--runs", runs, "--ablate", "--json", "-")
    report = json.loads(result.stdout)
    assert list(report["ablation"]) == ["noise", "shuffled", "other"]
    assert {scores["pairs"] for scores in report["ablation"].values()} == {report["pairs"]}
    assert any(scores["pck"] != report["pck"] for scores in report["ablation"].values())
    for name, scores in report["ablation"].items():
        assert f"with {name} support mPCK4 falls by {report['mpck4'] - scores['mpck4']:.3f}" in result.stderr
    plain = json.loads(evaluate("--split", 1, "--runs", runs, "--json", "-").stdout)
    assert plain["mpck4"] == report["mpck4"]
    assert plain["ablation"] == {}


def test_a_single_category_has_no_others_template(runs, real_images, tmp_path):
    write_pack(real_images / "annotations", real_images / "images", tmp_path / "real", size=64)
    result = evaluate("--split", 1, "--runs", runs, "--data", tmp_path / "real", "--ablate", "--json", "-")
    assert "split 1 test has a single category: there is no other category's template" in result.stderr
    assert list(json.loads(result.stdout)["ablation"]) == ["noise", "shuffled"]


def test_a_baseline_has_no_support_to_ablate(tiny_root):
    with pytest.raises(UserError, match="--predictor template is none"):
        evaluate("--split", 1, "--predictor", "template", "--annotations", tiny_root / "annotations", "--ablate")


def test_several_checkpoints_by_run_or_folder_make_a_table_and_a_folder_each(runs, tmp_path):
    asked = ("--checkpoint", "new", "--checkpoint", runs / "old/epoch-0001", "--runs", runs, "--json", tmp_path / "out")
    result = evaluate(*asked, "--shots", "1,2")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/*/*.json"))
    both = [f"eval-split1-{shots}shot.json" for shots in (1, 2)]
    assert files == [f"{folder}/{name}" for folder in ("new-epoch-0002", "old-epoch-0001") for name in both]
    one = json.loads((tmp_path / "out" / files[0]).read_text())
    alone = json.loads(evaluate("--checkpoint", runs / "new/epoch-0002", "--runs", runs, "--json", "-").stdout)
    assert one["checkpoint"] == f"{runs}/new/epoch-0002"
    assert {**one, "checkpoint": alone["checkpoint"]} == alone
    assert result.stdout.count("epoch-000") == 4


@pytest.mark.parametrize("split", ["2", "1-2", "2,3"])
def test_a_checkpoint_is_scored_on_no_other_split_of_its_data_however_many_are_asked_for(runs, split):
    cure = "no checkpoint is of split 2:" if "1" in split else "was trained on split 1: it may have seen categories"
    with pytest.raises(UserError, match=cure):
        evaluate("--runs", runs, "--split", split)
