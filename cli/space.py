"""`capetune space`: look at search spaces."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import typer

from capetune.cli import common

app = typer.Typer(
    name="space",
    help="List the built-in search spaces, or show one as a table.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", short_help="Name the built-in spaces.")
def list_spaces() -> None:
    """Name the built-in spaces, each with what its file says of itself.

    Example:

      capetune space list
    """
    from rich.table import Table

    from capetune.tuning.space_file import BUILT_IN, built_in_spaces

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("space", no_wrap=True)
    table.add_column("what for")
    for name in built_in_spaces():
        lines = (BUILT_IN / name).read_text().splitlines()
        table.add_row(name.removesuffix(".yaml"), lines[0].removeprefix("# "))
    common.console().print(table)


@app.command("show", short_help="Show a space as a table with sizes.")
def show(
    file: str = typer.Argument(..., help="A YAML file or a built-in space."),
    preset: str = common.Preset,
    config: Path | None = common.ConfigFile,
    settings: list[str] = common.Settings,
    as_json: bool = typer.Option(False, "--json", help="Print JSON in place of a table."),
) -> None:
    """Read a space as `capetune search` would and show its ranges, their sizes, and how it is searched.

    Examples:

      capetune space show decoder

      capetune space show mine.yaml --preset full --json
    """
    import json

    from rich.table import Table

    from capetune.config import load_config
    from capetune.tuning.space import describe, size
    from capetune.tuning.space_file import load_space

    base = load_config(preset, config, settings)
    space = load_space(file, base)
    default = space.default(base)
    rows: list[dict[str, Any]] = []
    for key, parameter in space.parameters.items():
        rows.append(
            {
                "key": key,
                "range": describe(parameter.distribution),
                "values": size(parameter.distribution),
                "default": default.get(key),
                "when": {other: list(values) for other, values in parameter.when.items()},
            }
        )
    header = space.header.model_dump(mode="json")
    if as_json:
        print(json.dumps({"space": str(space.source), **header, "parameters": rows}, indent=2))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title=str(space.source))
    table.title_justify = "left"
    for name in ("key", "range", "values", "default", "when"):
        table.add_column(name, justify="right" if name == "values" else "left", overflow="fold")
    for row in rows:
        when = ", ".join(f"{key} = {' or '.join(map(str, values))}" for key, values in row["when"].items())
        count = "∞" if row["values"] is None else str(row["values"])
        table.add_row(row["key"], row["range"], count, "–" if row["default"] is None else str(row["default"]), when)
    console = common.console()
    console.print(table)
    sizes = [row["values"] for row in rows]
    many = "infinitely many" if None in sizes else f"at most {math.prod(sizes)}"
    goals = " and ".join(f"{metric} ({mode})" for metric, mode in zip(header["metric"], header["mode"], strict=True))
    scheduler, budget = header["scheduler"], {k: v for k, v in header["budget"].items() if v is not None}
    stops = scheduler["name"] + (
        f", grace {scheduler['grace']}, factor {scheduler['factor']}" * (scheduler["name"] != "none")
    )
    lines = [
        f"{many} configurations; goal {goals}; sampler {header['sampler']}; scheduler {stops}",
        f"budget: {', '.join(f'{value:g} {name}' for name, value in budget.items()) or 'as the command says'}; "
        f"{len(header['points'])} points tried first, after the default",
    ]
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
