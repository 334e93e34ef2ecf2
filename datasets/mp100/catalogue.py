"""The 100 categories of MP-100: ids and names as its annotation files spell them, folders, source data sets.

The annotation files say neither the source of an image nor which categories a user lacks; this table does.
Sources: the names and ids of the official files, the folders and data sets of the official preparation guide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import TypedDict

# In the order of the ids, 1 to 100. `face` stands twice: 18 is AFLW's, 40 is 300W's.
_NAMES = """
skirt horse_body dog_body fennecfox_face panda_body hamster_body chipmunk_face sling_dress panther_body
klipspringer_face vest_dress przewalskihorse_face californiansealion_face Woodpecker pig_body Wren sling face
arcticwolf_face cat_body bobcat_body guanaco_face fallowdeer_face dassie_face short_sleeved_shirt elephant_body
deer_body Gull rabbit_body bison_body rhino_body car squirrel_body greyseal_face gorilla_body quokka_face camel_face
bus swivelchair face Kingfisher sheep_body spider_monkey_body locust chair Sparrow alpaca_face goldenretriever_face
sofa otter_body suv leopard_body Tern hippo_body zebra_body onager_face bonobo_face antelope_body Grebe
short_sleeved_dress gibbons_face vest ferret_face long_sleeved_dress pademelon_face fly trousers fox_body
olivebaboon_face skunk_body giraffe_body person lion_body germanshepherddog_face shorts polar_bear_body
commonwarthog_face long_sleeved_outwear grizzlybear_face hand bighornsheep_face capebuffalo_face
short_sleeved_outwear bed cheetah_body Warbler cow_body rat_body proboscismonkey_face raccoon_body beaver_body macaque
gerbil_face blackbuck_face weasel_body gentoopenguin_face long_sleeved_shirt table capybara_face wolf_body
"""

# The 15 folders that aren't called as their category is.
_FOLDERS = {
    18: "amur_tiger_body",  # holds human faces: the name is the official one all the same
    40: "human_face",
    44: "locust_body",
    66: "fly_body",
    72: "human_body",
    80: "human_hand",
    92: "macaque_body",
    14: "woodpecker_body",
    16: "wren_body",
    28: "gull_body",
    41: "kingfisher_body",
    46: "sparrow_body",
    53: "tern_body",
    59: "grebe_body",
    86: "warbler_body",
}

# Both `face` categories list no keypoint names; a file without their annotations leaves no other way to know K.
KEYPOINTS = {18: 19, 40: 68}

_SOURCES = {
    "COCO": (72,),
    "300W": (40,),
    "AFLW": (18,),
    "OneHand10K": (80,),
    "DeepFashion2": (1, 8, 11, 17, 25, 60, 62, 64, 67, 75, 78, 83, 97),
    "MacaquePose": (92,),
    "DeepPoseKit": (44, 66),
    "CUB-200-2011": (14, 16, 28, 41, 46, 53, 59, 86),
    "CarFusion": (32, 38, 51),
    "Keypoint-5": (39, 45, 49, 84, 98),
}

SAID = 3  # of a source's categories in a line

# What to know where a source's pictures are there, but not under the annotated names.
TRAPS = {"CarFusion": "; CarFusion's have to be called as the image's id (`capetune data doctor --link DIR`)"}


@dataclass(frozen=True)
class Known:
    """One category of MP-100. source: the data set its images come from."""

    id: int
    name: str
    folder: str
    source: str


def _source(id: int, name: str) -> str:
    for source, ids in _SOURCES.items():
        if id in ids:
            return source
    return "AnimalWeb" if name.endswith("_face") else "AP-10K"


MP100 = {
    id: Known(id, name, _FOLDERS.get(id, name), _source(id, name)) for id, name in enumerate(_NAMES.split(), start=1)
}


def known(id: int, name: str) -> Known | None:
    """The MP-100 category of that id, or None where the id is not MP-100's or means something else there.

    name: as in the annotation file; MP-100's folder is taken for it too, since some files write that.
    """
    entry = MP100.get(id)
    return entry if entry is not None and name in (entry.name, entry.folder) else None


def source(id: int, name: str) -> str:
    """The data set the category's images come from, or "other" where it isn't one of MP-100's."""
    entry = known(id, name)
    return entry.source if entry is not None else "other"


class MissingJson(TypedDict):
    id: int
    name: str


class CoverageJson(TypedDict):
    """How many categories there are, of how many, and which aren't."""

    there: int
    of: int
    missing: list[MissingJson]


@dataclass(frozen=True)
class Coverage:
    """How much of MP-100 there is. missing: what isn't, by id."""

    missing: tuple[Known, ...]

    @property
    def line(self) -> str:
        """Such as "86 of 100 categories of MP-100; missing: DeepFashion2 (all 13), OneHand10K (hand)"."""
        said = []
        for source in dict.fromkeys(entry.source for entry in MP100.values()):
            names = [entry.name for entry in self.missing if entry.source == source]
            whole = len(names) > 1 and len(names) == sum(entry.source == source for entry in MP100.values())
            more = f" and {len(names) - SAID} more" if len(names) > SAID else ""
            if names:
                said.append(f"{source} ({f'all {len(names)}' if whole else ', '.join(names[:SAID]) + more})")
        there = f"{len(MP100) - len(self.missing)} of {len(MP100)} categories of MP-100"
        return f"{there}; missing: {', '.join(said)}" if said else there

    def to_json(self) -> CoverageJson:
        missing: list[MissingJson] = [{"id": entry.id, "name": entry.name} for entry in self.missing]
        return {"there": len(MP100) - len(missing), "of": len(MP100), "missing": missing}

    @classmethod
    def of_json(cls, tree: CoverageJson) -> Coverage:
        return cls(tuple(MP100[entry["id"]] for entry in tree["missing"] if entry["id"] in MP100))


def coverage(categories: Iterable[tuple[int, str]]) -> Coverage:
    """Of categories, (id, name), that there is something of."""
    there = {id for id, name in categories if known(id, name)}
    return Coverage(tuple(entry for entry in MP100.values() if entry.id not in there))
