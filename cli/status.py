"""`capetune status`: what a cluster does, and what its jobs have reached."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    address: str | None = common.Dashboard,
    token_file: Path | None = common.TokenFile,
    watch: bool = typer.Option(False, "--watch", "-w", help="Go on, until Ctrl-C."),
    seconds: float = typer.Option(5.0, "--every", min=1.0, help="With --watch: seconds between looks."),
    price: float | None = typer.Option(None, "--price", min=0.0, help="Of a GPU hour: shows what the jobs have cost."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON; with --watch, a line a look."),
) -> None:
    """Show what runs and waits on a cluster: its machines, jobs, trials, epochs, best scores and hours.

    Hours are those that workers have trained and validated; where the cluster has GPUs a worker has one.

    Examples:

      capetune status --address http://head:8265

      capetune status --watch --price 2.50
    """
    import json
    import time

    from rich.live import Live

    from capetune.cluster.jobs import Jobs
    from capetune.cluster.load import load_of
    from capetune.reports.status import standing, status_document, status_lines

    jobs = Jobs(address, token_file)
    console = common.console(columns=200)

    def look():
        alive = [job for job in jobs.all() if not job.over]
        return load_of(jobs), [(job, standing(job, jobs.log(job.id).splitlines())) for job in alive], price

    if as_json:
        while True:
            print(json.dumps(status_document(*look()), indent=None if watch else 2), flush=True)
            if not watch:
                return
            time.sleep(seconds)
    if not watch:
        console.print(status_lines(*look()))
        return
    with Live(status_lines(*look()), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(seconds)
            live.update(status_lines(*look()), refresh=True)
            if not console.is_terminal:
                console.print(live.renderable)
