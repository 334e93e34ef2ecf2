"""Split categories: train on some, validate and test on others, never seen, as MP-100's own splits do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from capetune.datasets.mp100.findings import noted, said
from capetune.datasets.mp100.gather import gather
from capetune.datasets.mp100.parts import by_categories, in_several_parts
from capetune.datasets.mp100.rewrite import chosen, rewrite
from capetune.errors import UserError
from capetune.pose import PARTS


def split_by_categories(
    annotations: Path, out: Path, categories: Sequence[str] = (), tell: Callable[[str], None] = lambda line: None
) -> dict[str, list[str]]:
    """Write `mp100_split1_{train,val,test}.json` into the new folder `out`, each category in one part, in the shares of
    `parts.by_categories`. Returns the categories' names, by part.

    categories: names; all that have an instance if none is given. tell: hears a line for each kind of thing that isn't
    written, or is doubtful. Raises UserError where one of the categories isn't there, they are too few or have too few
    instances, the files contradict each other, or `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists already: remove it or give another --out")
    gathered = gather(annotations)
    ids = chosen(gathered, categories)
    instances = [instance for instance in gathered.instances.values() if instance.category_id in ids]
    parts = by_categories(Counter(instance.category_id for instance in instances), "--by frames")
    if len(set(parts.values())) < len(PARTS):
        raise UserError(f"{len(ids)} categories aren't one to train on, one to validate and one to test: --by frames")
    listed = {part: [id for id in parts if parts[id] == part] for part in PARTS}
    rewrite(gathered, out, listed, lambda id, file: parts[id])
    doubts = [*gathered.doubts, *in_several_parts(instances, lambda instance: parts[instance.category_id])]
    for line in (*gathered.notes, *said(noted(gathered.dropped), noted(doubts))):
        tell(line)
    return {part: [gathered.categories[id].name for id in group] for part, group in listed.items()}
