"""`capetune config`: print the resolved configuration."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    preset: str = common.Preset,
    config: Path | None = common.ConfigFile,
    settings: list[str] = common.Settings,
    schema: bool = typer.Option(False, "--schema", help="Print the JSON schema of such files, for editors."),
) -> None:
    """Print the whole configuration as YAML: preset, then file, then --set.

    Examples:

      capetune config --preset tiny

      capetune config --preset demo --set model.decoder.layers=4 --set loss.coordinates=10

      capetune config --schema > config.schema.json
    """
    if schema:
        import json

        from capetune.service.schema import config_schema

        print(json.dumps(config_schema(), indent=2))
        return
    from capetune.config import load_config

    print(load_config(preset, config, settings).to_yaml(), end="")
