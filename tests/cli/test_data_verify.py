import json
import os
import shutil

import pytest

from capetune.cli.main import run
from capetune.datasets.packs.reader import open_pack


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
