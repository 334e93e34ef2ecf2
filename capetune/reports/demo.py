"""The outcome of the demo, in words."""

from __future__ import annotations

from capetune.service.demo import DemoResult


def demo_lines(result: DemoResult) -> list[str]:
    """The model beside the template, what the scores are of, what the time went into, and where all lies."""
    report = result.report
    model, template = report.scores.mpck4, report.template.mpck4
    what = "synthetic" if report.synthetic else "real"
    unseen = ", unseen categories" if report.seen and report.seen.known and not report.seen.categories else ""
    return [
        f"model mPCK4 {model:.3f}, template {template:.3f} on the same {report.scores.pairs} pairs: "
        f"{model - template:+.3f}",
        f"{report.protocol}, split {report.split} {report.part}, {report.shots} shot{unseen}, {what} data",
        "time: " + ", ".join(f"{stage.partition(':')[0]} {seconds:.0f} s" for stage, seconds in result.seconds.items()),
        f"search {result.search}",
        f"checkpoint {result.checkpoint}",
        f"report {result.file}",
    ]
