from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from capetune.datasets.mp100.findings import Finding, noted, said, together

FINDINGS = st.lists(st.builds(Finding, st.integers(1, 2), st.sampled_from("ab"), st.integers(1, 3)))


@given(st.lists(FINDINGS, max_size=4))
def test_together_counts_what_files_share_once_and_repeats_in_one_file_as_often(files):
    counts = Counter(together(files))
    for finding in set().union(*files):
        assert counts[finding] == max(group.count(finding) for group in files)
    assert set(counts) == set().union(*files)


def test_what_is_about_annotations_pictures_and_categories_is_counted_as_such():
    findings = [
        *(Finding(1, "odd", n, detail="x" if n == 5 else "") for n in (9, 8, 5, 7)),
        *(Finding(1, "gone", n, f"a/{n % 2}.jpg") for n in (1, 2, 3)),
        Finding(4, "empty", detail="four"),
    ]
    assert said(noted(findings), {}) == [
        "empty: 1 category left out: 4 (four)",
        "gone: 2 images with 3 instances left out: a/0.jpg, a/1.jpg",
        "odd: 4 annotations left out: 5 (x), 7, 8 and 1 more",
    ]
    assert said({}, noted(findings[:1])) == ["doubtful: odd: 1 annotation: 9"]


def test_all_is_kept_by_reason():
    entry = noted([Finding(1, "gone", 2, "b.jpg", "x"), Finding(1, "gone", 1, "a.jpg"), Finding(1, "gone", 2, "b.jpg")])
    assert entry["gone"].to_json() == {
        **{"files": ["a.jpg", "b.jpg"], "instances": 3, "ids": [1, 2, 2], "categories": []},
        "details": {"b.jpg": "x"},
    }
