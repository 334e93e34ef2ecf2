"""Results of evaluations as files: one as it is, several in a folder, where `capetune leaderboard` finds them."""

from __future__ import annotations

import json
from pathlib import Path

from capetune.errors import UserError
from capetune.evaluation.report import EvalReport
from capetune.service.evaluate import EvalReports, EvaluateRequest
from capetune.storage.whole import write_aside


def check_out(request: EvaluateRequest, out: Path | None) -> None:
    """Raises UserError where what the request gives can't be written to `out`; None and "-" are no file."""
    if out is None or str(out) == "-":
        return
    if out == request.predictions:
        raise UserError("--json and --predictions name one file; give two")
    if request.several and (out.is_file() or not (out.is_dir() or out.parent.is_dir())):
        raise UserError(f"can't write several results to {out}: give --json a folder, or a new one in one that exists")
    if not request.several and (out.is_dir() or not out.parent.is_dir()):
        raise UserError(f"can't write {out}: give --json a file in a folder that exists")


def document(result: EvalReport | EvalReports) -> str:
    return json.dumps(result.to_json(), indent=2, ensure_ascii=False)


def write(result: EvalReport | EvalReports, out: Path) -> None:
    """Each file aside and renamed. Raises UserError where it can't be written."""
    named = {"": result} if isinstance(result, EvalReport) else result.named()
    try:
        for name, report in named.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_aside(out / name, document(report) + "\n")
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror or error}") from None
