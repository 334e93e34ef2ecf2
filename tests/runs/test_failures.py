from __future__ import annotations

import pytest

from capetune.runs.failures import error_line


class Meta:
    def __init__(self, score):
        self.score = score


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Traceback …\n  File …\nValueError: no\n", "ValueError: no"),
        (
            "Traceback …\nx.y.ValidationError: 1 error\nkey\n  Extra [x]\n    For more see …",
            "x.y.ValidationError: 1 error",
        ),
        ("ValueError: first\n\nDuring …\nKeyError: 'second'", "KeyError: 'second'"),
        ("it ended\nof itself\n", "of itself"),
        ("", "no reason given"),
    ],
)
def test_the_line_that_names_the_error_is_found(text, line):
    assert error_line(text) == line
