"""Points in a file of their own, as a running search is asked for them."""

from __future__ import annotations

import pytest

from capetune.errors import UserError
from capetune.tuning.space_file import read_points

SPACE = "loss.tokens: {log: [0.05, 2]}\nmodel.decoder.layers: {choice: [2, 3, 4, 6]}\n"
ODD = {
    "- {loss.tokens: 3}": "the 1. point has loss.tokens = 3, which lies outside log [0.05, 2]",
    "- {loss.tokens: 1}\n- {loss.token: 1}": "the 2. point has loss.token, which has no range here; loss.tokens?",
    "- {loss.tokens: 1}\n- {loss.tokens: 1.0}": "the 2. point makes the same configuration as the 1.: leave one out",
    "[]": "wanted is a list of points, such as '- {loss.tokens: …}'",
    "- 3": "wanted is a list of points, such as '- {loss.tokens: …}'",
    "- {}": "wanted is a list of points, such as '- {loss.tokens: …}'",
    "loss.tokens: 1": "wanted is a list of points, such as '- {loss.tokens: …}'",
}


def test_points_are_whole_with_the_default_for_what_they_leave_out(tmp_path, read, config):
    space, file = read(SPACE), tmp_path / "points.yaml"
    layers = config.model.decoder.layers
    for text in (
        "- {loss.tokens: 1}\n- {model.decoder.layers: 6}\n",
        "points: [{loss.tokens: 1}, {model.decoder.layers: 6}]",
    ):
        file.write_text(text)
        assert read_points(file, space, config) == [
            {"loss.tokens": 1, "model.decoder.layers": layers},
            {"loss.tokens": config.loss.tokens, "model.decoder.layers": 6},
        ]


def test_what_is_none_of_the_space_s_is_named_with_its_file(tmp_path, read, config):
    space, file = read(SPACE), tmp_path / "points.yaml"
    for text, said in ODD.items():
        file.write_text(text)
        with pytest.raises(UserError) as caught:
            read_points(file, space, config)
        assert str(caught.value) == f"{file}: {said}"
