"""Whatever faults meet in one data set: `check` and `pack` keep the same, say the same, refuse the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capetune.errors import UserError

FAULTS = {
    "an unlisted category": lambda g: g.change(category_id=102),
    "an unlisted image": lambda g: g.change(1, image_id=77),
    "an id twice": lambda g: g.change(2, id=11),
    "an image id twice": lambda g: g.images[1].update(id=1),
    "a count of keypoints": lambda g: g.change(1, num_keypoints=3),
    "a count of none": lambda g: g.change(2, num_keypoints=0),
    "no box": lambda g: g.change(1, bbox=None),
    "no coordinates": lambda g: g.change(2, keypoints=[None, None, 0, 63, 17, 2, 67, 45, 2, 27, 49, 2]),
    "a parent category": lambda g: g.categories.insert(0, {"id": 0, "name": "gadgets"}),
    "a file twice": lambda g: g.name("gadget/1.png", 1),
    "a backslash": lambda g: g.name("gadget\\3.png", 2),
    "a path outside": lambda g: g.name("../gadget/2.png", 1),
    "a lost picture": lambda g: (g.root / "images/gadget/3.png").unlink(),
    "a turned picture": lambda g: g.draw("gadget/2.png", orientation=3),
    "another size": lambda g: g.images[0].update(width=64, height=96),
    "a stray file": lambda g: g.write("mine.json"),
    "a string for a width": lambda g: g.images[2].update(width="96"),
    "another order": lambda g: g.categories[-1].update(keypoints=["b", "a", "c", "d"]),
}


def refusal(work: Callable[[], object]) -> str | None:
    try:
        work()
    except UserError as error:
        return str(error)
    return None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.sets(st.sampled_from(sorted(FAULTS)), max_size=4), then=st.sets(st.sampled_from(sorted(FAULTS))))
def test_check_and_pack_agree(gadgets, first, then):
    """Two files, the second with more faults than the first."""
    with TemporaryDirectory() as folder:
        one = type(gadgets)(Path(folder))
        for fault in sorted(first):
            FAULTS[fault](one)
        one.write("mp100_split2_val.json")
        for fault in sorted(then - first):
            FAULTS[fault](one)
        refused = refusal(one.agreed)
        if refused is not None and refusal(one.check) != refused:
            found = one.check()
            assert refused in found.contradictions or not found.images.found


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_heard_of(gadgets, fault):
    """Alone, none passes without a word, but for what is harmless."""
    FAULTS[fault](gadgets)
    if fault == "a string for a width":
        assert "'width' of images[2]" in str(refusal(gadgets.agreed))
        return
    kept, left_out, doubts = gadgets.agreed()
    assert left_out or doubts or fault in ("no coordinates", "another order")
    assert len(kept) == 3 or left_out
