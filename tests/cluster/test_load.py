from __future__ import annotations

from types import SimpleNamespace

import pytest

from capetune.cluster.load import load_of
from capetune.errors import UserError


def told(report: object) -> SimpleNamespace:
    """A dashboard that answers as Ray 2.60's does."""
    answer = {"result": True, "data": {"clusterStatus": {"loadMetricsReport": report}}}
    return SimpleNamespace(url="http://head:8265", get=lambda path: answer)


def test_what_is_used_and_what_waits() -> None:
    report = {
        "usage": {"CPU": [5.0, 16.0], "GPU": [8.0, 8.0], "memory": [0.0, 1e9], "node:10.0.0.1": [0.0, 1.0]},
        "usageByNode": {"a": {}, "b": {}},
        "resourceDemand": [[{"CPU": 3.0}, 1], [{"node:__internal_head__": 0.001}, 1]],
        "pgDemand": [[{"bundles": [[{"CPU": 4.0, "GPU": 1.0}, 2]], "strategy": "PACK"}, 3]],
        "requestDemand": [],
    }
    load = load_of(told(report))
    assert (load.machines, load.used, load.total) == (2, {"CPU": 5.0, "GPU": 8.0}, {"CPU": 16.0, "GPU": 8.0})
    assert load.waiting == [({"CPU": 8.0, "GPU": 2.0}, 3), ({"CPU": 3.0}, 1)]


def test_a_cluster_of_which_nothing_is_known_yet_has_nothing() -> None:
    load = load_of(told(None))
    assert (load.machines, load.total, load.waiting) == (0, {}, [])


@pytest.mark.parametrize("report", [{"usage": 3}, {"pgDemand": [1]}, {"resourceDemand": [["x", 1]]}, "text"])
def test_another_way_of_telling_is_one_line(report: object) -> None:
    with pytest.raises(UserError, match="tells of its cluster in a way that isn't known here"):
        load_of(told(report))
