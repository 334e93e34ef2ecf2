"""A request as a JSON file, and what runs it: what a cluster's job is sent, and what any program can write."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from capetune.errors import UserError
from capetune.events import Listener, ignore
from capetune.service import demo, evaluate, export, predict, promote, search, serve, steer, train
from capetune.service.request import Request

VERBS: dict[str, tuple[ModuleType, type[Request]]] = {
    "search": (search, search.SearchRequest),
    "train": (train, train.TrainRequest),
    "promote": (promote, promote.PromoteRequest),
    "evaluate": (evaluate, evaluate.EvaluateRequest),
    "predict": (predict, predict.PredictRequest),
    "serve": (serve, serve.ServeRequest),
    "export": (export, export.ExportRequest),
    "demo": (demo, demo.DemoRequest),
    "steer": (steer, steer.SteerRequest),
}


def parse_request(tree: Any, source: str = "the request") -> Request:
    """The request in a JSON object; its `verb` says which one. Raises UserError, in one line, where it is none."""
    verb = tree.get("verb") if isinstance(tree, dict) else None
    if verb not in VERBS:
        near = difflib.get_close_matches(str(verb), VERBS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f'{source} is no request: it wants an object with a "verb", one of {", ".join(VERBS)}{hint}')
    try:
        return VERBS[verb][1].of(**tree)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def read_request(file: Path) -> Request:
    """Raises UserError where the file can't be read or holds no request."""
    try:
        return parse_request(json.loads(file.read_text(encoding="utf-8")), str(file))
    except OSError as error:
        raise UserError(f"can't read {file}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from None


def run(request: Request, listener: Listener = ignore) -> Any:
    """Run it; what it returns and raises is its verb's."""
    return VERBS[type(request).model_fields["verb"].default][0].run(request, listener)
