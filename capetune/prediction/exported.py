"""A trained model as one file for programs without capetune: PyTorch's `.pt2`, or ONNX."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from capetune.datasets.packs.crop import PADDING
from capetune.errors import UserError
from capetune.models.estimator import PoseEstimator
from capetune.models.execution import Way
from capetune.models.folding import settle
from capetune.models.scanned import generate_scanned
from capetune.pose import Batch

Format = Literal["torch", "onnx"]
Given = Sequence[np.ndarray]
Runner = Callable[[Given], tuple[np.ndarray, np.ndarray]]
INPUTS = ("images", "boxes", "template", "known", "edges", "joints")
OUTPUTS = ("xy", "score")
MOST_IMAGES = 4096  # a batch
OPSET = 18  # its GridSample has the mode's name that torch writes and onnxruntime reads
FACTS = "capetune.json"  # in a .pt2; of an ONNX file, the property `capetune`


class Exported(nn.Module):
    """All that `prediction.model.Model` does behind the crop, a function of tensors, on the CPU.

    size: S. most: K, up to which it is for. Made of a copy of the model, which should be `in_float32`.
    """

    def __init__(self, model: PoseEstimator, size: int, most: int) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().eval().run_as(Way())
        settle(self.model.backbone)
        self.requires_grad_(False)
        self.size = size
        self.most = most

    def forward(
        self, images: Tensor, boxes: Tensor, template: Tensor, known: Tensor, edges: Tensor, joints: Tensor
    ) -> tuple[Tensor, Tensor]:
        """images: uint8 (B, 3, S, S) RGB, the official crops. boxes: float32 (B, 4), xywh in pixels of each picture.
        template: float32 (B, K, 2) in units of the box; it isn't read where known, bool (B, K), is False. edges: bool
        (B, K, K), symmetric. joints: bool (B, K), True = a keypoint, False = padding behind them.

        Returns xy, float32 (B, K, 2) in pixels of each picture, and score, float32 (B, K) in (0, 1). What stands at
        padding means nothing.
        """
        corner, sides = boxes[:, None, :2], boxes[:, None, 2:]
        square = PADDING * sides.amax(dim=-1, keepdim=True)
        placed = (torch.where(known.unsqueeze(-1), template, 0.5) - 0.5) * (sides / square) + 0.5
        nobody = boxes.new_zeros(0)  # a query's annotation is never read
        batch = Batch(images, placed, known, edges, joints, nobody, nobody, nobody, nobody, nobody)
        memory = self.model.remember(batch, self.model.backbone(images))
        found = self.model.calibrated(generate_scanned(self.model.decoder, memory), joints)
        return corner + sides / 2 + (found.xy - 0.5) * square, found.score

    def traced(self) -> torch.export.ExportedProgram:
        """For batches of any size up to MOST_IMAGES and K from 1 to `most` (2 or more), one for a batch."""
        count, keypoints = torch.export.Dim("batch", max=MOST_IMAGES), torch.export.Dim("keypoints", max=self.most)
        shapes: dict[str, Any] = {
            "images": {0: count},
            "boxes": {0: count},
            "template": {0: count, 1: keypoints},
            "known": {0: count, 1: keypoints},
            "edges": {0: count, 1: keypoints, 2: keypoints},
            "joints": {0: count, 1: keypoints},
        }
        return torch.export.export(self, self._example(), dynamic_shapes=shapes, strict=False)

    def _example(self) -> tuple[Tensor, ...]:
        batch, keypoints = 2, min(5, self.most)  # 1 would be taken for a constant
        known = torch.ones(batch, keypoints, dtype=torch.bool)
        return (
            torch.zeros(batch, 3, self.size, self.size, dtype=torch.uint8),
            torch.tensor([[0.0, 0.0, 8.0, 6.0]]).repeat(batch, 1),
            torch.full((batch, keypoints, 2), 0.4),
            known,
            torch.zeros(batch, keypoints, keypoints, dtype=torch.bool),
            known.clone(),  # one tensor given twice would be one input
        )


def in_float32(model: PoseEstimator) -> PoseEstimator:
    """Let its backbone compute in float32, whatever its configuration says. Returns the model."""
    model.backbone.config = model.backbone.config.model_copy(update={"precision": "float32"})
    return model


def write_exported(exported: Exported, format: Format, facts: Mapping[str, Any], file: Path) -> None:
    """facts: what the file says of itself, JSON's values."""
    text = json.dumps(facts, ensure_ascii=False)
    with _quiet(), torch.no_grad():
        program = exported.traced()
        for graph in (part.graph for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)):
            for node in graph.nodes:
                node.meta.pop("stack_trace", None)  # this machine's paths, and more of them than weights
        if format == "torch":
            torch.export.save(program, file, extra_files={FACTS: text})
            return
        written = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=INPUTS, output_names=OUTPUTS, verbose=False
        )
        assert written is not None
        for node in written.model.graph.all_nodes():
            node.metadata_props.clear()  # names of modules and calls, for who mends the exporter
            node.doc_string = None
        written.model.metadata_props["capetune"] = text
        written.save(file, external_data=False)


def open_exported(file: Path, format: Format) -> Runner:
    """What runs a file as its users do, on as many threads as PyTorch has: takes the inputs in INPUTS' order, gives xy
    and score."""
    if format == "torch":
        with _quiet():
            program = torch.export.load(file).module()

        def run_program(given: Given) -> tuple[np.ndarray, np.ndarray]:
            with torch.no_grad():
                xy, score = program(*(torch.from_numpy(array) for array in given))
            return xy.numpy(), score.numpy()

        return run_program
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would note a device's id in the home, and report uses
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run_session(given: Given) -> tuple[np.ndarray, np.ndarray]:
        xy, score = session.run(list(OUTPUTS), dict(zip(INPUTS, given, strict=True)))
        return xy, score

    return run_session


def check_installed(format: Format) -> None:
    """Raises UserError where what writes and checks the format isn't installed."""
    absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if format == "onnx" and find_spec(name) is None]
    if absent:
        raise UserError(f"ONNX needs {', '.join(absent)}: pip install 'capetune[export]', or --format torch")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters tell their developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
