"""`capetune runs`: what was searched, trained and promoted."""

from __future__ import annotations

import typer

from capetune.cli import common, runs_mend

app = typer.Typer(help="List runs, show one, compare two, mend one.", rich_markup_mode=None)
Json = typer.Option(False, "--json", help="Print JSON in place of a table.")


@app.callback(invoke_without_command=True)
def listing(context: typer.Context, runs: str = common.Runs, as_json: bool = Json) -> None:
    """List searches, trainings and promotions, the latest first.

    A run that says running while no process works on it was killed; it goes on with `search --resume NAME`, or with the
    same `train` or `promote` command. One that says damaged has no record that can be read: see `runs mend`.

    Examples:

      capetune runs

      capetune runs show decoder-20261123-081500

      capetune runs diff one two
    """
    if context.invoked_subcommand is not None:
        return
    import json

    from capetune.reports.runs import damaged_summary, runs_lines, runs_table, summary
    from capetune.runs.home import at_home
    from capetune.runs.registry import look

    with at_home(runs) as home:
        found, damaged = look(home)
        rows = [*map(summary, found), *map(damaged_summary, damaged)]
    console = common.console(columns=300)  # in a pipe names stay whole
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        console.print(runs_table(rows))
        console.print("\n".join(runs_lines(rows)), soft_wrap=True)
    else:
        console.print(f"no runs in {runs} yet; `capetune search` and `capetune train` make them", soft_wrap=True)


@app.command("show", short_help="Everything about one run.")
def show(name: str = typer.Argument(...), runs: str = common.Runs, as_json: bool = Json) -> None:
    """Show a run: its state, what its scores are of, its best checkpoint, its trials or epochs.

    Example:

      capetune runs show decoder-20261123-081500
    """
    import json

    from capetune.reports.runs import print_run, run_document
    from capetune.runs.home import at_home
    from capetune.runs.registry import find_run

    with at_home(runs) as home:
        run = find_run(home, name)
        if as_json:
            print(json.dumps(run_document(run), indent=2))
        else:
            print_run(run, common.console())


@app.command("diff", short_help="What differs between two runs.")
def diff(
    first: str = typer.Argument(...), second: str = typer.Argument(...), runs: str = common.Runs, as_json: bool = Json
) -> None:
    """Compare two runs: the configuration keys that differ (of a search: its best trial's), data, protocol, scores.

    Example:

      capetune runs diff tiny-3f9c21 tiny-88ab01
    """
    import json

    from capetune.reports.runs import PROTOCOL, difference, difference_table
    from capetune.runs.home import at_home
    from capetune.runs.registry import find_run

    with at_home(runs) as home:
        differing = difference(find_run(home, first), find_run(home, second))
    console = common.console()
    if as_json:
        print(json.dumps(differing, indent=2))
    elif differing:
        console.print(difference_table((first, second), differing))
    else:
        console.print(f"{first} and {second} have the same configuration, data and scores", soft_wrap=True)
    if not as_json and any(key in differing for key in PROTOCOL):
        console.print("their scores are of other data or another protocol: they can't be compared", soft_wrap=True)


app.command("mend", short_help="Make a damaged record anew.")(runs_mend.command)
