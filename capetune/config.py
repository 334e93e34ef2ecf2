"""One frozen tree of hyperparameters: presets, YAML files, `--set` and search spaces all end in `with_overrides`."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from capetune.errors import UserError
from capetune.yaml12 import Document, Keys, dump_yaml, parse_yaml, read_document, read_yaml

PRESET_FOLDER = Path(__file__).parent / "presets"


HASHED = "hashed"  # of a key that came after hashes were kept: "set", where it isn't at its default, or "never"


def newer(default: Any, hashed: Literal["set", "never"] = "set", **rules: Any) -> Any:
    """A key that an older configuration hasn't got: at its default it leaves the hash what it was. never: whatever it
    is, since no result depends on it, and a run may go on with another."""
    return Field(default, json_schema_extra={HASHED: hashed}, **rules)


class Section(BaseModel):
    """A frozen node of the tree; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class BackboneConfig(Section):
    name: str = Field("resnet50", description="resnet50, efficientnet_lite0 or any of timm's networks")
    weights: str = Field("imagenet", description="imagenet, none, or a file with a state dict: .pth or .safetensors")
    stride: Literal[8, 16, 32, "pyramid"] = Field(
        32, description="pixels of the image per cell of the feature map; pyramid: maps of 8, 16 and 32"
    )
    frozen: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        0, description="stages kept as they were pretrained, from the stem on (2 is DETR's); all, or more than it has"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of its arithmetic; weights are float32. auto: bfloat16 on GPUs that compute in it"
    )


class SupportConfig(Section):
    layers: int = Field(3, ge=1, le=12)
    source: Literal["geometry", "features", "both"] = newer(
        "geometry", description="what is told of a keypoint: its place (the paper), how the supports' images look, both"
    )

    @property
    def looks(self) -> bool:
        """Whether images of supports are looked at."""
        return self.source != "geometry"


class DecoderConfig(Section):
    layers: int = Field(6, ge=1, le=12)
    points: int = Field(4, ge=1, le=16, description="sampling points a head in deformable attention")


class ModelConfig(Section):
    sequence: Literal["xy", "point"] = Field("xy", description="xy: <coord> x y <sep> (the paper); point: one token")
    vocabulary: int = Field(256, ge=8, le=4096, description="coordinate bins per axis, V")
    width: int = Field(256, ge=16, le=1024)
    heads: int = Field(8, ge=1, le=32)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    decode: Literal["head", "expectation", "both"] = Field(
        "head", description="a keypoint's place: the regression head's, the mean over coordinate tokens, or between"
    )
    refine: bool = Field(False, description="a second pass, which sees the whole first guess")
    execution: Literal["auto", "eager", "captured", "compiled"] = Field(
        "auto", description="on a GPU: as written, replayed as CUDA graphs (auto), or by torch.compile and replayed"
    )
    support_at_step: bool = Field(True, description="add the support embedding of keypoint i at the steps of i")
    backbone: BackboneConfig = BackboneConfig()
    support: SupportConfig = SupportConfig()
    decoder: DecoderConfig = DecoderConfig()

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelConfig:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of twice the heads ({self.heads})")
        return self


class LossConfig(Section):
    tokens: float = Field(1.0, ge=0.0, description="λ1, cross-entropy over tokens")
    coordinates: float = Field(5.0, ge=0.0, description="λ2, L1 over coordinates in [0, 1]")
    smoothing: float = Field(
        0.0, ge=0.0, le=32.0, description="deviation, in bins, of what a coordinate token is taught"
    )


def _listed(value: Any) -> Any:
    """A list may come as its JSON text (search spaces), and a single entry as itself."""
    if isinstance(value, str) and value.startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value if isinstance(value, list | tuple) else [value]


class DataConfig(Section):
    split: Literal[1, 2, 3, 4, 5] = 1
    size: int = Field(512, ge=64, le=1024, multiple_of=32, description="side of the model's input, pixels")
    shots: Annotated[tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...], BeforeValidator(_listed)] = Field(
        (1, 5), min_length=1, description="supports a template, drawn anew each sample; all: the category's mean"
    )
    rotation: float = Field(15.0, ge=0.0, le=180.0, description="± degrees")
    scale: float = Field(0.15, ge=0.0, lt=1.0, description="± share of the crop's side")
    flip: float = Field(
        0.0, ge=0.0, le=1.0, description="share mirrored, of categories whose names tell left and right"
    )
    balance: Literal["instances", "categories"] = newer(
        "instances", description="each train instance as often as the others, or each category, as officially"
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="loader processes a training worker (auto: none on a CPU, whose cores train)"
    )
    max_corrupt: float = Field(
        0.001, ge=0.0, le=0.5, description="share of the train samples that may be spoilt: left out, counted and named"
    )


class TrainConfig(Section):
    epochs: int = Field(5, ge=1)
    patience: int | None = newer(
        None, ge=1, description="ends after so many validations on end without a better score; null = never"
    )
    batch_size: int = Field(8, ge=1, description="samples a training worker and step")
    steps: int | None = Field(None, ge=1, description="steps an epoch; null = once through the training instances")
    save_minutes: float = newer(
        10.0, "never", ge=0.0, description="a longer epoch is kept about so often, to go on from its middle; 0 = never"
    )
    accumulate: int = Field(1, ge=1, description="batches a step, whose gradients are averaged")
    learning_rate: float = Field(1e-4, gt=0.0)
    backbone_rate: float = Field(1.0, gt=0.0, le=1.0, description="the backbone's learning rate, as a share of that")
    weight_decay: float = Field(1e-4, ge=0.0)
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float = Field(1.0, gt=0.0, description="largest norm of the gradient")
    ema: float = Field(
        0.0, ge=0.0, lt=1.0, description="decay of the averaged weights that are evaluated and kept; 0 = none"
    )
    input_noise: float = Field(0.0, ge=0.0, description="deviation of noise on teacher-forced coordinates")
    prefix_dropout: float = Field(
        0.0, ge=0.0, le=1.0, description="share of entering keypoints that their template's place replaces"
    )


class ValidationConfig(Section):
    shots: int = Field(1, ge=1)
    episodes: int = Field(100, ge=1, description="episodes a category; 100 is official")
    queries: int = Field(15, ge=1, description="queries an episode; 15 is official")


class Config(Section):
    """Everything that decides a training's result, except the data itself."""

    seed: int = Field(42, ge=0, lt=2**32)
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    validation: ValidationConfig = ValidationConfig()

    @model_validator(mode="after")
    def _few_images(self) -> Config:
        if self.model.support.looks and "all" in self.data.shots:
            raise ValueError("images of all supports are too many to look at: give numbers, such as data.shots=[1,5]")
        return self

    def with_overrides(self, overrides: Mapping[str, Any]) -> Config:
        """A new tree with dotted keys replaced, validated whole.

        Raises UserError where a key doesn't exist (the nearest right one is named) or a value doesn't fit.
        """
        tree = self.model_dump()
        for key, value in overrides.items():
            check_key(key)
            *path, last = key.split(".")
            node = tree
            for name in path:
                node = node[name]
            node[last] = value
        return parse_config(tree)

    def hash(self) -> str:
        """12 hex digits that name this configuration."""
        text = json.dumps(hashed(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        return dump_yaml(self.model_dump(mode="json"))


def hashed(section: Section) -> dict[str, Any]:
    """What of a configuration its hash is made of."""
    tree = section.model_dump(mode="json")
    for name, info in type(section).model_fields.items():
        value, extra = getattr(section, name), info.json_schema_extra
        if isinstance(value, Section):
            tree[name] = hashed(value)
        elif isinstance(extra, dict) and (extra[HASHED] == "never" or value == info.default):
            del tree[name]
    return tree


def config_value(config: Config, key: str) -> Any:
    """What stands at a dotted key, tuples as lists."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value


def differences(before: Config, now: Config, below: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key → its value there and here, of keys that decide a result, differ and begin with `below`."""
    keys = (key for key in leaf_keys() if key.startswith(below) and not _never_hashed(key))
    pairs = {key: (config_value(before, key), config_value(now, key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _never_hashed(key: str) -> bool:
    section: Any = Config
    *path, last = key.split(".")
    for name in path:
        section = section.model_fields[name].annotation
    extra = section.model_fields[last].json_schema_extra
    return isinstance(extra, dict) and extra.get(HASHED) == "never"


def leaf_keys(section: type[Section] = Config, prefix: str = "") -> Iterator[str]:
    """Every dotted key that may be set."""
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from leaf_keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def check_key(key: str) -> None:
    """Raises UserError, naming the nearest right key, where `key` isn't one."""
    keys = list(leaf_keys())
    if key in keys:
        return
    below = [k for k in keys if k.startswith(key + ".")]
    if below:
        raise UserError(f"{key!r} is a section, not a value; set one of its keys: {', '.join(below[:6])}")
    namesakes = [k for k in keys if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    near = difflib.get_close_matches(key, namesakes, 1, 0.0) or difflib.get_close_matches(key, keys, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else "`capetune config` prints every key"
    raise UserError(f"there is no configuration key {key!r}; {hint}")


def parse_config(tree: Any, source: str = "configuration") -> Config:
    """Validate a nested mapping. Raises UserError with one line that names the key."""
    if not isinstance(tree, Mapping):
        raise UserError(f"{source} must be a mapping of sections (model, loss, data, train, validation)")
    for key in _dotted(tree):
        check_key(key)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]  # below a key it goes on into lists and unions
        prefixes = (".".join(path[:n]) for n in range(1, len(path) + 1))
        where = next((key for key in prefixes if key in set(leaf_keys())), ".".join(path)) or source
        given = "" if isinstance(first["input"], Mapping) else f", not {first['input']!r}"
        raise UserError(f"{where}: {first['msg'].removeprefix('Value error, ')}{given}") from None


def _dotted(tree: Mapping[str, Any], section: type[Section] = Config, prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        info = section.model_fields.get(str(name))
        kind = info.annotation if info else None
        if isinstance(kind, type) and issubclass(kind, Section) and isinstance(value, Mapping):
            yield from _dotted(value, kind, f"{prefix}{name}.")
        elif not (isinstance(kind, type) and issubclass(kind, Section)):
            yield f"{prefix}{name}"


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


def load_preset(name: str) -> Config:
    """A built-in preset. Raises UserError where there is none of that name."""
    path = PRESET_FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"there is no preset {name!r}; there are {', '.join(preset_names())}")
    return parse_config(read_yaml(path) or {}, str(path))


def parse_setting(text: str) -> tuple[str, Any]:
    """`a.b=c` → ("a.b", c), c read as YAML. Raises UserError where there is no `=`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set wants key=value, such as --set model.decoder.layers=4, not {text!r}")
    try:
        return key, parse_yaml(value)
    except yaml.YAMLError:
        raise UserError(f"--set {key}: {value!r} is not a YAML value") from None


def load_config(
    preset: str = "tiny",
    file: Path | None = None,
    settings: tuple[str, ...] | list[str] = (),
    base: Config | None = None,
) -> Config:
    """Preset, then file (whole tree or a part of it), then `--set`, each over the one before. base: stands in the
    preset's place."""
    config = base or load_preset(preset)
    if file is not None:
        document = read_document(file)
        if not isinstance(document.tree, Mapping):
            raise UserError(f"{file} must be a mapping of sections (model, loss, data, train, validation)")
        config = config.with_overrides(_flat(document, file))
    return config.with_overrides(dict(parse_setting(text) for text in settings))


def _flat(document: Document, source: Path) -> dict[str, Any]:
    """Dotted key → value. Raises UserError where a key stands there both nested and dotted."""
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for path, value in _leaves(document.tree):
        key, line = ".".join(path), document.lines.get(path, 0)
        if key in found:
            first, last = sorted((lines[key], line))
            raise UserError(f"{source}, line {last}: {key} is given twice, first in line {first}; keep one of them")
        found[key], lines[key] = value, line
    return found


def _leaves(tree: Mapping[Any, Any], above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, str(name)))
        else:
            yield (*above, str(name)), value
