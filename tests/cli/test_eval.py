from __future__ import annotations

import json
import random
import shutil
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from capetune.cli.main import app, run
from capetune.datasets.packs.manifest import file_sha256
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.errors import UserError


def invoke(*arguments):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def annotations(tmp_path):
    """Split 1 test: 30 horses with poses drawn at random, 8 dogs, no outwear."""
    generator = random.Random(0)
    names = {2: "horse_body", 3: "dog_body", 78: "long_sleeved_outwear"}
    images, poses = [], []
    for n in range(38):
        category = 2 if n < 30 else 3
        images.append({"id": n, "file_name": f"{names[category]}/{n}.jpg", "width": 200, "height": 100})
        points = [x for _ in range(3) for x in (generator.uniform(10, 90), generator.uniform(10, 60), 2)]
        box = {"bbox": [10, 10, 80, 50], "area": 4000, "iscrowd": 0, "num_keypoints": 3, "keypoints": points}
        poses.append({"id": n + 100, "image_id": n, "category_id": category, **box})
    categories = [{"id": n, "name": name, "keypoints": ["a", "b", "c"], "skeleton": []} for n, name in names.items()]
    document = {"images": images, "annotations": poses, "categories": categories}
    (tmp_path / "mp100_split1_test.json").write_text(json.dumps(document))
    return tmp_path


def error_of(*arguments):
    with pytest.raises(UserError) as error:
        invoke(*arguments)
    return str(error.value)


def test_the_tables_show_the_predictor_above_the_template(annotations):
    result = invoke("--split", 1, "--predictor", "center", "--annotations", annotations)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    head = next(n for n, line in enumerate(lines) if "split 1 test, 1-shot, official" in line)
    assert any("By category" in line for line in lines[:head]), "what matters most comes last"
    for title in ("@.05", "@.10", "@.15", "@.20", "@.25", "mPCK4", "mPCK5"):
        assert title in result.stdout
    center, template = (
        next(n for n, line in enumerate(lines) if n > head and word in line) for word in ("center", "template")
    )
    assert template == center + 1
    for said in (
        "1 of 3 categories, 3000 pairs; 0 of them have no common visible keypoint and score 0",
        "data: real",
        "not sampled, with fewer than 16 instances: dog_body (3): 8",
        "missing, listed without instances: long_sleeved_outwear (78)",
    ):
        assert said in result.stdout


def test_the_json_file_holds_the_report_and_nothing_else_is_left(annotations, tmp_path):
    target = tmp_path / "out" / "report.json"
    target.parent.mkdir()
    result = invoke("--split", 1, "--predictor", "template", "--annotations", annotations, "--json", target)
    assert result.exit_code == 0
    assert "split 1 test" in result.stdout
    document = json.loads(target.read_text())
    assert document["protocol"] == "official"
    assert document["pck"] == document["template"]["pck"]
    assert document["pairs"] == 200 * 15
    assert [path.name for path in target.parent.iterdir()] == ["report.json"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_dash_prints_the_json_alone_on_stdout(annotations):
    few = ("--shots", 5, "--queries", 2, "--episodes", 3)
    result = invoke("--split", 1, *few, "--predictor", "center", "--json", "-", "--annotations", annotations)
    document = json.loads(result.stdout)
    assert document["protocol"] == "sampled as officially, 3 episodes of 2 queries a category"
    assert (document["shots"], document["predictor"]) == (5, "center")
    assert list(document["per_category"]) == ["2", "3"]
    assert "By category" in result.stderr


def test_a_part_the_folder_lacks_is_said_with_what_it_has(annotations):
    said = error_of("--split", 2, "--predictor", "center", "--annotations", annotations)
    assert "no mp100_split2_test.json" in said
    assert "there are mp100_split1_test.json" in said


def test_instances_come_from_one_place(annotations, tmp_path):
    assert "give one of --data PACK and --annotations DIR" in error_of("--split", 1, "--predictor", "center")
    both = ("--annotations", annotations, "--data", tmp_path)
    assert "give one of" in error_of("--split", 1, "--predictor", "center", *both)


def test_more_queries_than_instances_name_the_cure(annotations):
    said = error_of("--split", 1, "--predictor", "center", "--annotations", annotations, "--queries", 50)
    assert "lower --queries or --shots" in said


def test_a_place_the_report_can_not_go_is_said_before_the_work(annotations, tmp_path):
    target = tmp_path / "nowhere" / "report.json"
    assert "give --json a file" in error_of("--split", 1, "--predictor", "center", "--json", target)
    assert "give --json a file" in error_of("--split", 1, "--predictor", "center", "--json", "/")


@pytest.mark.parametrize("wrong", [["--part", "all"], ["--predictor", "magic"]])
def test_words_outside_the_choices_exit_with_2(annotations, wrong):
    base = {"--split": "1", "--predictor": "center", "--annotations": str(annotations)} | {wrong[0]: wrong[1]}
    result = invoke(*[word for pair in base.items() for word in pair])
    assert result.exit_code == 2
    assert wrong[0] in result.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--split", "6"), "--split: Input should be less than or equal to 5, not 6"),
        (("--split", "1-x"), "--split: wants numbers such as 1,5 or 1-5, not '1-x'"),
        (("--split", "1", "--shots", "0"), "--shots wants numbers from 1 to 100, not 0"),
        (("--split", "1", "--workers", 2), "--workers share a model's pictures; --predictor center looks at none"),
        (("--split", "1", "--cpus", 2), "--address and --cpus say where --workers score: give --workers N too"),
        (("--split", "1", "--shots", "1,2", "--predictions", "x"), "are of one result"),
        (("--split", "1,2", "--json", "nowhere/x"), "can't write several results to nowhere/x: give --json a folder"),
    ],
)
def test_numbers_that_don_t_go_are_said_in_a_line(annotations, words, line):
    assert line in error_of("--predictor", "center", "--annotations", annotations, *words)


def test_several_splits_and_shots_make_one_table_and_a_file_each(annotations, tmp_path):
    shutil.copy(annotations / "mp100_split1_test.json", annotations / "mp100_split2_test.json")
    asked = (*FEW[2:], "--predictor", "center", "--annotations", annotations, "--json", tmp_path / "out")
    result = invoke("--split", "1-2", "--shots", "1,2", *asked)
    assert result.exit_code == 0
    files = sorted(tmp_path.glob("out/center/*.json"))
    assert [file.name for file in files] == [f"eval-split{n}-{shots}shot.json" for n in (1, 2) for shots in (1, 2)]
    for file, (split, shots) in zip(files, [(1, 1), (1, 2), (2, 1), (2, 2)], strict=True):
        document = json.loads(file.read_text())
        assert (document["split"], document["shots"]) == (split, shots)
        assert f"{document['mpck4']:.3f}" in result.stdout
    assert result.stdout.count("center") == 4


def test_a_user_s_mistake_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["capetune", *f"eval --split 1 --predictor center --annotations {tmp_path}".split()]
    )
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_help_has_examples():
    assert "capetune eval --split 1" in invoke("--help").stdout


def test_a_pack_gives_the_report_of_the_files_it_was_made_of(annotations, tmp_path):
    document = json.loads((annotations / "mp100_split1_test.json").read_text())
    images = tmp_path / "images"
    for image in document["images"]:
        path = images / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (image["width"], image["height"])).save(path)
    pack(annotations, images, tmp_path / "pack", size=64)
    reports = [
        json.loads(invoke("--split", 1, "--predictor", "template", "--json", "-", *place).stdout)
        for place in (("--annotations", annotations), ("--data", tmp_path / "pack"))
    ]
    hashes = [report.pop("data_hash") for report in reports]
    assert hashes == [
        file_sha256(annotations / "mp100_split1_test.json")[:12],
        open_pack(tmp_path / "pack").fingerprint,
    ]
    covered = [report.pop("mp100") for report in reports]
    assert covered[0] is None, "one file of annotations is no data set"
    assert (covered[1]["there"], covered[1]["of"], len(covered[1]["missing"])) == (2, 100, 98)
    assert [report.pop("pack") for report in reports] == [None, str(tmp_path / "pack")]
    assert reports[0] == reports[1]
    assert reports[0]["missing_categories"] == [{"id": 78, "name": "long_sleeved_outwear"}]


def test_of_very_many_categories_the_best_and_the_worst_are_shown_and_the_rest_counted() -> None:
    from types import SimpleNamespace

    from capetune.reports.evaluation import MOST, _extremes

    rows = [SimpleNamespace(scores=SimpleNamespace(mpck4=i / 100)) for i in range(MOST + 5)]
    shown, left_out = _extremes(rows)
    assert [row.scores.mpck4 for row in shown[:2]] == [(MOST + 4) / 100, (MOST + 3) / 100]
    assert shown[-1] is rows[0]
    assert (len(shown), left_out) == (MOST, 5)
    assert _extremes(rows[:3]) == (rows[:3], 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--annotations", "."], "a model needs images"),
        (["--predictor", "center", "--checkpoint", "x"], "--predictor center has no checkpoint"),
        (["--from-predictions", "x", "--checkpoint", "x"], "--from-predictions has no checkpoint"),
        (["--from-predictions", "x", "--predictor", "center"], "leave out --predictor center"),
        (["--from-predictions", "x", "--predictions", "y"], "would write what --from-predictions reads"),
        (["--predictor", "center", "--predictions", "x", "--json", "x"], "name one file"),
        (["--from-predictions", "x", "--ablate"], "--from-predictions is none"),
        (["--predictor", "center", "--predictions", "nowhere/x"], "give --predictions a file in a folder that exists"),
    ],
)
def test_options_that_would_be_ignored_are_refused(given: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        app(["eval", "--split", "1", *given], standalone_mode=False)


def test_annotations_that_are_not_scored_or_may_be_wrong_are_said(annotations):
    file = annotations / "mp100_split1_test.json"
    tree = json.loads(file.read_text())
    tree["annotations"][0]["category_id"] = 5
    tree["annotations"][1]["num_keypoints"] = 2
    file.write_text(json.dumps(tree))
    result = invoke("--split", 1, "--predictor", "template", "--annotations", annotations, "--episodes", 1)
    assert result.exit_code == 0
    assert (
        "warning: mp100_split1_test.json: category not listed: 1 annotation left out: 100 (category 5)" in result.stderr
    )
    assert "doubtful: num_keypoints is not the number of visible keypoints: 1 annotation: 101" in result.stderr


FEW = ("--split", 1, "--episodes", 3, "--queries", 4)


def test_few_pairs_are_said_and_a_baseline_is_neither_seen_nor_unseen(annotations):
    few = invoke(*FEW, "--predictor", "center", "--annotations", annotations).stdout
    assert "24 pairs are too few to rest a claim on" in few
    many = invoke("--split", 1, "--predictor", "center", "--annotations", annotations).stdout
    assert "too few" not in many
    assert "unseen" not in few.lower() + many.lower()


def test_a_baseline_wants_a_split(annotations):
    assert "--predictor center has no split of its own: give --split" in error_of(
        "--predictor", "center", "--annotations", annotations
    )


def test_predictions_are_written_and_scored_again_to_the_last_digit(annotations, tmp_path):
    file, first = tmp_path / "pairs.json", tmp_path / "first.json"
    data = ("--annotations", annotations)
    invoke(*FEW, "--shots", 2, "--predictor", "template", *data, "--predictions", file, "--json", first)
    again = json.loads(invoke(*FEW, "--shots", 2, *data, "--from-predictions", file, "--json", "-").stdout)
    before = json.loads(first.read_text())
    assert (before.pop("predictor"), again.pop("predictor")) == ("template", "predictions")
    assert again == before
    assert len(json.loads(file.read_text())) == before["pairs"] == 24


def test_wrong_predictions_are_one_line_with_exit_code_2_and_leave_nothing(annotations, tmp_path, monkeypatch, capsys):
    file, out = tmp_path / "pairs.json", tmp_path / "result.json"
    invoke(*FEW, "--predictor", "center", "--annotations", annotations, "--predictions", file)
    file.write_text(json.dumps(json.loads(file.read_text())[1:]))
    words = [*FEW, "--annotations", annotations, "--from-predictions", file, "--json", out]
    monkeypatch.setattr(sys, "argv", ["capetune", "eval", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{file} can't be scored on these 24 pairs: 1 missing: annotation 1" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        ("", "is empty"),
        ("[{", "is cut or no JSON"),
        ("{}", "is no list of predictions"),
    ],
)
def test_a_file_that_holds_no_predictions_is_named(annotations, tmp_path, content, said):
    file = tmp_path / "pairs.json"
    if content is not None:
        file.write_text(content)
    words = error_of(*FEW, "--annotations", annotations, "--from-predictions", file)
    assert said in words
    assert str(file) in words


def test_another_result_on_the_same_pairs_is_compared(annotations, tmp_path):
    data, other = ("--annotations", annotations), tmp_path / "other.json"
    invoke(*FEW, "--predictor", "template", *data, "--json", other)
    scored = json.loads(other.read_text())
    compared = invoke(*FEW, "--predictor", "center", *data, "--compare", other, "--json", "-")
    report = json.loads(compared.stdout)
    assert report["comparison"]["difference"] == pytest.approx(report["mpck4"] - scored["mpck4"])
    assert report["comparison"]["other"] == str(other)
    assert report["comparison"]["sentence"] in compared.stderr
    assert "2 categories are too few to tell" in compared.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pairs_hash": "0" * 12}, "is of other pairs (000000000000, split 1 test, 1 shots, 3 episodes of 4 queries)"),
        ({"pairs_hash": None}, "doesn't say which pairs it is of"),
        ({"per_category": {}}, "has no mpck4 in [0, 1] of each of the 2 categories"),
    ],
)
def test_a_result_of_other_pairs_an_old_one_and_a_damaged_one_are_not_compared(annotations, tmp_path, change, said):
    other = tmp_path / "other.json"
    few = (*FEW, "--predictor", "center", "--annotations", annotations)
    invoke(*few, "--json", other)
    other.write_text(json.dumps(json.loads(other.read_text()) | change))
    assert said in error_of(*few, "--compare", other)
    other.write_text("[]")
    assert "is no result of an evaluation" in error_of(*few, "--compare", other)


def test_the_result_of_a_pack_says_how_much_of_mp100_it_has(tmp_path, write_mp100):
    pose = {"bbox": [2, 2, 40, 30], "keypoints": [5, 5, 2, 30, 20, 2], "num_keypoints": 2}
    names = [f"bed/{n}.jpg" for n in range(3)]
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names)]
    notes = [{"id": n, "image_id": n, "category_id": 84, **pose} for n in range(3)]
    category = {"id": 84, "name": "bed", "keypoints": ["a", "b"], "skeleton": []}
    write_mp100(tmp_path, [category], images, notes, {(1, "test"): [84]})
    for name in names:
        (tmp_path / "images/bed").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48)).save(tmp_path / "images" / name)
    pack(tmp_path / "annotations", tmp_path / "images", tmp_path / "pack", size=64)
    asked = ("--split", 1, "--predictor", "template", "--episodes", 1, "--queries", 2, "--data", tmp_path / "pack")
    assert "the pack: 1 of 100 categories of MP-100; missing: DeepFashion2 (all 13)" in invoke(*asked).stdout
