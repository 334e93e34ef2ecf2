from __future__ import annotations

import io
import sys

from capetune.reports.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_piece_of_work_has_its_bar_on_a_terminal_s_stderr(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as bar:
        bar("packing [left]", 3, 7)
        bar("drawing", 1, 2)
        print("said meanwhile")
    drawn = sys.stderr.getvalue()
    assert "packing [left]" in drawn
    assert "3/7" in drawn
    assert "1/2" in drawn
    assert capsys.readouterr().out == "said meanwhile\n"


def test_nothing_is_drawn_elsewhere(capsys) -> None:
    with progress_bar() as bar:
        bar("packing", 3, 7)
    assert capsys.readouterr() == ("", "")
