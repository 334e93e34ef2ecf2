from __future__ import annotations

from pathlib import Path

from capetune.events import EpochDone, Event, JobChanged, NodeLost, StepsDone, TrainingBegan
from capetune.runs.diary import EVENTS, noted, read_events


def test_what_no_other_file_tells_is_written_down_and_everything_is_heard(tmp_path: Path) -> None:
    heard: list[Event] = []
    history = ({"epoch": 1, "mpck4": 0.1}, {"epoch": 2, "mpck4": 0.2})
    events = [TrainingBegan("one", 4, history), StepsDone("one", 3, 1, 9), EpochDone("one", 3, {}), NodeLost("node-b")]
    events += [JobChanged("one", "split1-seed42", "ended", {1: 0.5})]
    hear = noted(tmp_path, heard.append)
    for event in events:
        hear(event)
    assert heard == events
    lines = list(read_events(tmp_path))
    assert [line["event"] for line in lines] == ["training_began", "node_lost", "job_changed"]
    assert lines[0]["history"] == [history[-1]]
    assert lines[1]["node"] == "node-b"
    assert lines[2]["scores"] == {"1": 0.5}
    assert all(line["time"] > 0 for line in lines)


def test_without_a_diary_there_are_no_lines_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    assert list(read_events(tmp_path)) == []
    (tmp_path / EVENTS).write_bytes(b'{"event": "a"}\n{"ev\n3\n' + b"[" * 100_000 + b'\n\xff\n{"event": "b"}\n{"half')
    assert [line["event"] for line in read_events(tmp_path)] == ["a", "b"]
