"""`capetune config`: print the resolved configuration."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    preset: str = typer.Option("tiny", help="Built-in preset: demo, full, paper or tiny."),
    config: Path | None = typer.Option(None, "--config", help="YAML file with any part of the tree."),
    settings: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="One key; may be repeated."),
) -> None:
    """Print the whole configuration as YAML: preset, then file, then --set.

    Examples:

      capetune config --preset tiny

      capetune config --preset demo --set model.decoder.layers=4 --set loss.coordinates=10
    """
    from capetune.config import load_config

    typer.echo(load_config(preset, config, settings).to_yaml(), nl=False)
