"""`capetune leaderboard`: published results beside ours."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    results: list[Path] = typer.Argument(
        None, metavar="[RESULT…]", help="Files of `eval --json`, or folders of them, such as a promotion's run."
    ),
    markdown: bool = typer.Option(False, "--markdown", help="Print Markdown."),
    latex: bool = typer.Option(False, "--latex", help="Print LaTeX, for the package booktabs."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    html: Path | None = typer.Option(
        None, "--html", metavar="FILE", help="Write a page there, which needs no network and can be sorted."
    ),
) -> None:
    """Print the published results of MP-100, and yours beside them, by PCK@0.2 in percent.

    Only figures of one protocol, part, number of supports and kind of data share a table: other pairs, partial data and
    synthetic data stand apart. Grade: official is out of the method's own repository or paper, secondary out of
    another's table. A folder is one method, and the mean of its seeds.

    Examples:

      capetune leaderboard

      capetune leaderboard mine.json runs/decoder-20261123-081500-promoted --markdown

      capetune leaderboard mine.json --html leaderboard.html
    """
    import json

    from capetune.reports import leaderboard as reports
    from capetune.runs.leaderboard import Ours, boards, published

    if markdown + latex + as_json + (html is not None) > 1:
        raise UserError("--markdown, --latex, --json and --html are four ways to show it; give one")
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise UserError(f"can't write {html}: give --html a file in a folder that exists")
    ours = Ours()
    for path in results or []:
        ours.add(path)
    found = boards([*published(), *ours.entries])
    if html is not None:
        from capetune.reports.leaderboard_page import write_page

        write_page(found, results or [], html)
        common.say(f"written: {html}")
    elif as_json:
        tree = [{"table": board.title, "rows": [entry.to_json() for entry in rows]} for board, rows in found.items()]
        print(json.dumps(tree, indent=2, ensure_ascii=False))
    elif markdown or latex:
        print((reports.markdown if markdown else reports.latex)(found))
    else:
        for table in reports.tables(found):
            common.console(columns=160).print(table)
