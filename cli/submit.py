"""`capetune submit`: send a command to a cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from capetune.cli import common
from capetune.cli.asked import asked_by
from capetune.errors import UserError

VERBS = ("search", "train", "promote", "eval")
AHEAD = {"allow_interspersed_args": False}  # what stands behind the command's name is the command's


def command(
    context: typer.Context,
    words: list[str] = typer.Argument(..., metavar="-- COMMAND …", help=f"One of {', '.join(VERBS)}, its options."),
    address: str | None = common.Dashboard,
    token_file: Path | None = common.TokenFile,
    id: str | None = typer.Option(None, "--id", help="The job's id; default: made from the command and the time."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Print what it says to its end; exit as it does."),
    wait: bool = typer.Option(False, "--wait", help="Wait until it has ended; exit as it does."),
) -> None:
    """Run a capetune command as a job of a Ray cluster, from a machine that needn't be in it.

    This machine's code goes along, and the files of --space and --config; data and runs are read where they are: give
    addresses, or absolute paths that all of the cluster's machines share. The dependencies are those of its image. The
    token is read from --token-file, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.

    Examples:

      capetune submit --address http://head:8265 -- search --space decoder.yaml --data s3://bucket/mp100 --runs
      s3://bucket/runs

      capetune submit --follow -- train --best --workers 8 --runs s3://bucket/runs

    What is said of submit itself comes before the command; `--` between the two may be left out.
    """
    from capetune.cluster.jobs import Jobs
    from capetune.reports.jobs import show_log, state_line
    from capetune.service.submit import submit

    if words[0] not in VERBS:
        raise UserError(f"what can be sent is one of {', '.join(VERBS)}, not {words[0]!r}")
    request = asked_by(words)
    jobs = Jobs(address, token_file)
    job = submit(request, jobs, id)
    if not follow and not wait:
        common.say(f"sent: job {job.id}", f"next: capetune logs {job.id} -f", f"      capetune stop {job.id}")
        return
    try:
        if follow:
            show_log(jobs.follow(job.id), common.console())
        job = jobs.wait(job.id)
    except KeyboardInterrupt:
        common.say(f"job {job.id} goes on: capetune logs {job.id} -f follows it, capetune stop {job.id} ends it")
        raise
    common.say(state_line(replace(job, why=jobs.why(job)) if job.state == "FAILED" else job))
    if job.state != "SUCCEEDED":
        raise typer.Exit(job.code or 1)
