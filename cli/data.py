"""`capetune data …`: look at, make and pack data sets."""

from __future__ import annotations

import typer

from capetune.cli import (
    data_check,
    data_doctor,
    data_import,
    data_pack,
    data_plan,
    data_show,
    data_split,
    data_stats,
    data_synth,
    data_verify,
)

app = typer.Typer(help="Check, make, pack and look at data sets.", no_args_is_help=True)
app.command("check", short_help="Say what you have of MP-100, and what is missing or odd.")(data_check.command)
app.command("doctor", short_help="Find MP-100's images in the downloads they come from.")(data_doctor.command)
app.command("import", short_help="Make a COCO file of what an annotation tool exported.")(data_import.command)
app.command("pack", short_help="Pack the images once, for all splits and parts.")(data_pack.command)
app.command("plan", short_help="What would each rank and epoch of a training read?")(data_plan.command)
app.command("show", short_help="Draw crops with their keypoints and skeletons.")(data_show.command)
app.command("split", short_help="Split frames in time, or categories.")(data_split.command)
app.command("stats", short_help="Say how many, how large, how visible, how alike.")(data_stats.command)
app.command("synth", short_help="Make a data set of procedural objects.")(data_synth.command)
app.command("verify", short_help="Read all of a pack: is it what was packed?")(data_verify.command)
