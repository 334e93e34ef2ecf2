"""`capetune serve`: a model behind HTTP."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    context: typer.Context,
    checkpoint: str | None = typer.Argument(
        None, metavar="[CHECKPOINT|NAME]", help="A model's or a run's folder, or a run's name; default: the latest's."
    ),
    data: str | None = typer.Option(
        None, "--data", metavar="PACK", help="Categories to choose from; default: what the model was trained on."
    ),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on; another one is reached from outside."),
    port: int = typer.Option(8000, "--port", min=0, max=65535, help="Of the page and of /api; 0 takes a free one."),
    token_file: Path | None = typer.Option(
        None, "--token-file", metavar="FILE", help="Holds the token to ask for; default: a new one each time."
    ),
    replicas: int = typer.Option(1, "--replicas", min=1, help="Copies of the model, each on its share of CPUs, a GPU."),
    cpus: int | None = common.Cpus,
    runs: str = common.Runs,
    verbose: bool = common.Verbose,
    as_json: bool = common.Json,
) -> None:
    """Answer by HTTP where a template's keypoints lie in pictures, with a page to try it on.

    The page's link holds a token, without which nothing is answered. /api/predict takes and gives JSON, which
    /openapi.json describes. Questions that come together are answered together, on a GPU where there is one. Ctrl-C
    ends it.

    Examples:

      capetune serve runs/mine

      capetune serve fly-42 --port 9000 --token-file ~/serve-token
    """
    from capetune.service import serve

    common.run(serve, serve.ServeRequest.of(**common.asked(context)), as_json)
