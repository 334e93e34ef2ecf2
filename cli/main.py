"""The `capetune` program: registers the commands, and what stands around each.

Nothing here or at the top of a command's file may import torch, ray or numpy: `capetune --help` must start fast.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

import typer

from capetune.cli import (
    config,
    dashboard,
    data,
    demo,
    eval,
    export,
    jobs,
    leaderboard,
    outcome,
    output,
    predict,
    promote,
    report,
    request,
    runs,
    search,
    serve,
    signals,
    space,
    status,
    steer,
    submit,
    template,
    train,
)
from capetune.cli.paths import keep_local

app = typer.Typer(
    name="capetune",
    help="Search, train and evaluate category-agnostic pose estimators on MP-100, with Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("config", short_help="Print the resolved configuration as YAML.")(config.command)
app.command("search", short_help="Search hyperparameters, keep the best.")(search.command)
app.command("steer", short_help="Change what a running search does.")(steer.command)
app.command("train", short_help="Train one configuration, or a search's best.")(train.command)
app.command("eval", short_help="Score a model or a baseline on the official pairs.")(eval.command)
app.command("predict", short_help="Find a template's keypoints in pictures of your own.")(predict.command)
app.command("serve", short_help="Answer by HTTP where keypoints lie, with a page.")(serve.command)
app.command("export", short_help="A model as one file for other programs, and its card.")(export.command)
app.command("report", short_help="A search as an HTML page, its figures as PNG.")(report.command)
app.command("promote", short_help="Train a search's best on every split and seed, score officially.")(promote.command)
app.command("leaderboard", short_help="Published results of MP-100, and yours beside them.")(leaderboard.command)
app.command("dashboard", short_help="Open a search in optuna-dashboard, or Ray's dashboard.")(dashboard.command)
app.command("demo", short_help="The whole way on built-in synthetic data, six minutes.")(demo.command)
app.command("request", short_help="Run what a JSON file asks for.")(request.command)
app.command("submit", short_help="Send a command to a cluster.", context_settings=submit.AHEAD)(submit.command)
app.command("jobs", short_help="List a cluster's jobs.")(jobs.listing)
app.command("logs", short_help="Print what a job says.")(jobs.logs)
app.command("status", short_help="What a cluster does, and what its jobs have reached.")(status.command)
app.command("stop", short_help="End a job, and let it write down where it is.")(jobs.stop)
app.add_typer(data.app, name="data")
app.add_typer(space.app, name="space")
app.add_typer(template.app, name="template")
app.add_typer(runs.app, name="runs")
keep_local(app, data.app, space.app, template.app, runs.app)


def _versions(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version
        from platform import python_version

        others = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna"))
        print(f"capetune {version('capetune')}\npython {python_version()}, {others}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error, and libraries' warnings."),
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_versions, help="Say versions and end."),
) -> None:
    """Search, train and evaluate category-agnostic pose estimators on MP-100, with Ray."""
    if debug:
        output.untame()


def program() -> None:
    """Entry point: `run`, the exit functions, and none of Python's own end, in which threads of Ray's and torch's C++
    now and then crash: with SIGSEGV for an exit code after everything is written and said."""
    code = [1]
    atexit.register(lambda: _leave(code[0]))  # the first registered runs last
    try:
        run()
    except SystemExit as end:
        code[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a closed pipe
            stream.flush()
    os._exit(code)


def run() -> None:
    """The program but for its very end. Exit codes: 0 done, 1 our bug, 2 bad input (one line on stderr), 130 Ctrl-C,
    143 SIGTERM."""
    received = signals.heed()
    output.tame()
    try:
        outcome.run(app, received)
    finally:
        atexit.register(signals.ignore)  # the last registered runs first
