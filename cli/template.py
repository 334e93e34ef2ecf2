"""`capetune template …`: what a model is told of a category, as a small file."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError

app = typer.Typer(
    name="template",
    help="Make a template of a category's keypoints, or look at one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("make", short_help="Make one of labelled instances, or of points.")
def make(
    context: typer.Context,
    out: Path = typer.Option(..., "--out", metavar="FILE", help="The file to write."),
    coco: Path | None = typer.Option(None, "--coco", metavar="FILE", help="A COCO file of labelled instances."),
    data: str | None = typer.Option(None, "--data", metavar="PACK", help="A pack, or `synthetic`; with --category."),
    category: str | None = typer.Option(
        None, "--category", metavar="NAME|ID", help="Which one, where there are several; of points: its name."
    ),
    shots: int | None = typer.Option(None, "--shots", min=1, help="The first so many instances; default: up to 5."),
    points: str | None = typer.Option(None, "--points", metavar="X,Y …", help="Keypoints in pixels of a picture."),
    edges: str = typer.Option("", "--edges", metavar="I-J …", help="Of --points: which hang together, from 0."),
    names: str | None = typer.Option(None, "--names", metavar="A,B,…", help="Of --points: the keypoints' names."),
    box: str | None = typer.Option(
        None, "--box", metavar="X,Y,W,H", help="Of --points: the object's; default: the smallest around them."
    ),
) -> None:
    """Write a template: names, places in the object's box from 0 to 1, and edges, as JSON.

    Of labelled instances it is their mean, each in its own box: as a model is shown its supports in training. Those
    that lie in all directions have a mean that tells little: give --shots 1.

    Examples:

      capetune template make --coco exported.json --out fly.json

      capetune template make --data shards --category fly --shots 5 --out fly.json

      capetune template make --points "120,80 131,95 150,90" --edges "0-1 1-2" --category beak --out beak.json
    """
    from capetune.reports.prediction import template_line
    from capetune.reports.screen import Screen
    from capetune.service.templates import TemplateRequest, made

    request = TemplateRequest.of(**{**common.asked(context, "out"), "edges": edges or ()})
    with Screen(common.console(err=True)) as screen:
        template = made(request, screen.hear)
    template.write(out)
    common.say(template_line(template, out))


@app.command("show", short_help="Draw one as a PNG.")
def show(
    file: Path = typer.Argument(..., metavar="FILE", help="A template, as `template make` writes it."),
    out: Path = typer.Option(..., "--out", metavar="PNG", help="Picture to write."),
) -> None:
    """Draw a template: its keypoints with their numbers, its edges, and the object's box in grey.

    Example:

      capetune template show fly.json --out fly.png
    """
    from capetune.prediction.drawing import draw_template
    from capetune.prediction.template import Template
    from capetune.reports.prediction import template_line
    from capetune.reports.sheet import save

    if out.suffix.lower() != ".png":
        raise UserError(f"can't write {out}: call it something.png")
    template = Template.read(file)
    save(draw_template(template.xy, template.known, template.graph), out)
    common.say(template_line(template, file))
