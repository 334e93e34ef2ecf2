import json
import os
import shutil

import pytest

from capetune.cli.main import run
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.reports.packing import pack_lines


@pytest.fixture
def typed(monkeypatch, capfd, handlers):
    """typed(arguments): exit code, stdout, stderr."""

    def type_(*arguments):
        monkeypatch.setattr("sys.argv", ["capetune", "data", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run()
        return ended.value.code, *capfd.readouterr()

    return type_


def test_a_sound_pack_is_one_line(tiny_pack, typed):
    assert typed(tiny_pack) == (0, f"{tiny_pack}: 8 shards, 280 samples, all as they were packed\n", "")


def test_one_is_not_counted_as_several(tiny_root, tmp_path, typed):
    tree = json.loads((tiny_root / "annotations/mp100_split1_val.json").read_text())
    tree["annotations"] = tree["annotations"][:1]
    (tmp_path / "mp100_split1_val.json").write_text(json.dumps(tree))
    manifest = pack(tmp_path, tiny_root / "images", tmp_path / "pack", size=64)
    assert pack_lines(manifest, "one")[0].startswith("one: 1 instance of 1 category from 1 image in 1 shard, ")
    assert typed(tmp_path / "pack")[1].endswith(": 1 shard, 1 sample, all as they were packed\n")


def test_a_damaged_one_is_one_line_on_stderr_and_exit_code_2(tiny_pack, tmp_path, typed):
    pack = shutil.copytree(tiny_pack, tmp_path / "pack")
    *_, row = open_pack(pack).in_shard(3)
    whole = (pack / "shard-00003.tar").stat().st_size
    os.truncate(pack / "shard-00003.tar", row.offset + 99)
    code, out, err = typed(pack)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {pack}/shard-00003.tar: has {row.offset + 99} bytes, not {whole}; sample {row.instance.id}: its jpg "
        "can't be decoded; copy the pack again or make it anew (--json has 2 more)\n"
    )
    code, out, err = typed(pack, "--json")
    assert (code, err.count("\n")) == (2, 1)
    assert [(fault["file"], fault["sample"]) for fault in json.loads(out)["faults"]] == [
        ("shard-00003.tar", sample) for sample in (None, None, row.instance.id, row.instance.id)
    ]


def test_where_there_is_no_pack_both_ways_to_one_are_named(tmp_path, typed):
    code, out, err = typed(tmp_path / "nosuch")
    assert (code, out) == (2, "")
    made = f"`capetune data pack --images DIR --out {tmp_path}/nosuch`"
    assert f"nosuch doesn't exist; make a pack with {made} and --annotations DIR, MP-100's, or --coco FILE\n" in err
