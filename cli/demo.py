"""`capetune demo`: the whole way on the built-in synthetic data."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(context: typer.Context, runs: Path = common.Runs, verbose: bool = common.Verbose) -> None:
    """Make data, pack, search, train the best, evaluate on unseen categories: minutes on two CPU cores.

    Example:

      capetune demo
    """
    from capetune.reports.demo import demo_lines
    from capetune.service import demo

    result = common.run(demo, demo.DemoRequest.of(**common.asked(context)))
    common.say(*demo_lines(result))
