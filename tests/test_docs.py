"""README and docs/: links lead somewhere, and the commands are ones that there are. What they do others test."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from capetune.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = {page.relative_to(ROOT).as_posix(): page for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Of a page's headings, as GitHub makes them; two that are alike count as one."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    text = BLOCK.sub("", PAGES[page].read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = PAGES[page].parent / path if path else PAGES[page]
        assert aim.exists(), f"{page} leads to {target}"
        assert not anchor or anchor in anchors(aim.read_text()), f"{page} leads to {target}"


def typed(page: str) -> list[str]:
    """The lines of a page's blocks of shell that begin with capetune; in README and recipes, blocks without a language
    are shell, too."""
    kinds = ("sh", "") if page == "README.md" or "recipes" in page else ("sh",)
    blocks = [code for kind, code in BLOCK.findall(PAGES[page].read_text()) if kind in kinds]
    return [line for code in blocks for line in code.splitlines() if line.startswith("capetune ")]


def check(words: list[str]) -> None:
    """Raises where a command or an option isn't known, a value is of the wrong type, or an argument lacks."""
    command, name = get_command(app), "capetune"
    while hasattr(command, "commands") and words:  # a group alone lists something
        name, *words = words
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    context = command.make_context(name, words)
    if name == "submit":
        check(context.params["words"])


@pytest.mark.parametrize("page", [page for page in PAGES if typed(page)])
def test_commands_and_their_options_are_there(page: str) -> None:
    for line in typed(page):
        for part in re.split(r" && ", line):
            check(shlex.split(part, comments=True)[1:])
