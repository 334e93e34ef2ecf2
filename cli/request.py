"""`capetune request`: run what a file asks for."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    file: Path = typer.Argument(..., metavar="FILE", help='JSON: {"verb": "search", "space": "decoder.yaml", …}.'),
    sent: bool = typer.Option(False, "--sent", hidden=True, help="As a job: look first at what is installed."),
) -> None:
    """Run a request written as JSON: a verb (search, train, promote, evaluate, predict, demo), its command's options.

    Events come as lines of JSON, the result as the last one. In Python, `capetune.service.search.SearchRequest.of(…)`
    and its `model_dump_json()` write such a file.

    Example:

      capetune request search.json
    """
    from capetune.service import door

    if sent:
        from capetune.service.installed import check_installed

        check_installed()
    common.run(door, door.read_request(file), as_json=True, progress=not sent)
