"""`capetune space`: look at search spaces."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common

app = typer.Typer(
    name="space",
    help="List the built-in search spaces, or show one as a table.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _schema(wanted: bool) -> None:
    if wanted:
        import json

        from capetune.service.schema import space_schema

        print(json.dumps(space_schema(), indent=2))
        raise typer.Exit


@app.callback()
def options(
    schema: bool = typer.Option(
        False, "--schema", is_eager=True, callback=_schema, help="Print the JSON schema of such files, for editors."
    ),
) -> None:
    """List the built-in search spaces, or show one as a table."""


@app.command("list", short_help="Name the built-in spaces.")
def list_spaces() -> None:
    """Name the built-in spaces, each with what its file says of itself.

    Example:

      capetune space list
    """
    from capetune.reports.space import spaces_table
    from capetune.tuning.space_file import BUILT_IN, built_in_spaces

    common.console().print(spaces_table(BUILT_IN / name for name in built_in_spaces()))


@app.command("show", short_help="Show a space as a table with sizes.")
def show(
    file: str = typer.Argument(..., help="A YAML file or a built-in space."),
    preset: str = common.Preset,
    config: Path | None = common.ConfigFile,
    settings: list[str] = common.Settings,
    as_json: bool = typer.Option(False, "--json", help="Print JSON in place of a table."),
) -> None:
    """Read a space as `capetune search` would and show its ranges, their sizes, and how it is searched.

    It is checked against the configuration that a search would start from: the preset, --config, --set.

    Examples:

      capetune space show decoder

      capetune space show mine.yaml --preset full --json
    """
    import json

    from capetune.config import load_config
    from capetune.reports.space import space_lines, space_rows, space_table
    from capetune.tuning.space_file import load_space

    start = load_config(preset, config, settings)
    space = load_space(file, start)
    rows = space_rows(space, start)
    base = ", ".join([f"preset {preset}", *([str(config)] if config else []), *(f"--set {text}" for text in settings)])
    if as_json:
        header = space.header.model_dump(mode="json")
        print(json.dumps({"space": str(space.source), "base": base, **header, "parameters": rows}, indent=2))
        return
    console = common.console()
    console.print(space_table(space, rows))
    console.print("\n".join(space_lines(space, start, rows, base)), soft_wrap=True)
