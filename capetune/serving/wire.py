"""What is asked and answered by HTTP, as JSON, and how large it may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from capetune.prediction.template import TemplateTree

BODY = 32 * 2**20  # bytes of a request
PIXELS = 40_000_000  # of a picture
PICTURES = 32  # of a request
OBJECTS = 64  # boxes of a request; not more than a batch of any model holds
KEYPOINTS = 200  # of a template; MP-100's largest has 68

Number = Annotated[float, Field(allow_inf_nan=False)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureAsked(Wire):
    name: str = Field("", max_length=255, description="What the answer calls it; left out: its number, from 0.")
    data: str = Field(
        description="The bytes of a JPEG, PNG, WebP, BMP, GIF or TIFF file, in base64.",
        json_schema_extra={"contentEncoding": "base64"},
    )
    boxes: list[Box] | None = Field(
        None, min_length=1, description="x, y, width and height of each object, in pixels; null: the whole picture."
    )


class Question(Wire):
    """One of category and template says what is to be found."""

    pictures: list[PictureAsked] = Field(min_length=1, max_length=PICTURES)
    category: str | None = Field(None, description="Name or id of a category that GET /api/model lists.")
    template: TemplateTree | None = Field(None, description="What a template's file holds.")


class Category(Wire):
    id: str
    name: str
    keypoints: int


class Limits(Wire):
    """body: bytes of a request. pixels: of a picture. pictures, objects: of a request. keypoints: of a template."""

    body: int = BODY
    pixels: int = PIXELS
    pictures: int = PICTURES
    objects: int = OBJECTS
    keypoints: int = KEYPOINTS


class About(Wire):
    """The model that answers. size: pixels of the crop that it sees. calibrated: whether scores are chances."""

    checkpoint: str
    epoch: int
    weights_hash: str
    size: int
    calibrated: bool
    categories: list[Category]
    limits: Limits = Limits()


class Keypoint(Wire):
    """x, y: pixels of the picture, the right way up. score: the chance that it lies within a tenth of the box's longer
    side."""

    name: str
    x: float
    y: float
    score: float


class PoseFound(Wire):
    """size: width and height of the picture. object: number of the box in it. box: clipped to the picture."""

    image: str
    size: tuple[int, int]
    object: int
    box: tuple[float, float, float, float]
    keypoints: list[Keypoint]


class Found(Wire):
    """What `capetune predict` writes as poses.json."""

    checkpoint: str
    epoch: int
    weights_hash: str
    left_out: dict[str, str]
    template: TemplateTree
    poses: list[PoseFound]


class Error(Wire):
    """What is wrong, in one line."""

    detail: str
