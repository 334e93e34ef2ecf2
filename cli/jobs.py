"""`capetune jobs`, `logs` and `stop`: what was sent to a cluster."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common

Id = typer.Argument(..., metavar="JOB", help="A job's id, or the name of its run.")


def listing(
    address: str | None = common.Dashboard,
    token_file: Path | None = common.TokenFile,
    as_json: bool = typer.Option(False, "--json", help="Print JSON in place of a table."),
) -> None:
    """List the cluster's jobs, the latest first.

    Example:

      capetune jobs --address http://head:8265
    """
    import json

    from capetune.cluster.jobs import Jobs
    from capetune.reports.jobs import jobs_table

    found = Jobs(address, token_file).all()
    if as_json:
        print(json.dumps([job.to_json() for job in found], indent=2))
    elif found:
        common.console(columns=200).print(jobs_table(found))
    else:
        common.say("no jobs; `capetune submit` sends one")


def logs(
    id: str = Id,
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until it has ended."),
    address: str | None = common.Dashboard,
    token_file: Path | None = common.TokenFile,
    as_json: bool = typer.Option(False, "--json", help="As the job wrote it: an event is a line of JSON."),
) -> None:
    """Print what a job says.

    Example:

      capetune logs search-20261127-140000 -f
    """
    from capetune.cluster.jobs import Jobs
    from capetune.reports.jobs import show_log

    jobs = Jobs(address, token_file)
    job = jobs.one(id)
    lines = jobs.follow(job.id) if follow and not job.over else iter(jobs.log(job.id).splitlines())
    if as_json:
        for line in lines:
            print(line, flush=True)
    else:
        show_log(lines, common.console())


def stop(id: str = Id, address: str | None = common.Dashboard, token_file: Path | None = common.TokenFile) -> None:
    """End a job, once it has written down where it is; a search goes on with --resume NAME.

    Example:

      capetune stop search-20261127-140000
    """
    from capetune.cluster.jobs import Jobs
    from capetune.reports.jobs import stopped_line

    jobs = Jobs(address, token_file)
    job = jobs.one(id)
    common.say(f"{stopped_line(job)}; it had ended already" if job.over else stopped_line(jobs.stop(job.id)))
