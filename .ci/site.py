"""What the site has beside docs/: README, notebooks, the commands' and the Python API's pages; and links that hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from os.path import relpath
from pathlib import Path
from posixpath import dirname, join, normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|link[^>]*rel="?stylesheet)[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*>"""
)
README = "overview.md"
PYTHON = """# Python

::: capetune

## What they give and take

::: capetune.prediction.model.Model
    options: {heading_level: 3}

::: capetune.prediction.model.Poses
    options: {heading_level: 3}

::: capetune.prediction.template.Template
    options: {heading_level: 3}

::: capetune.evaluation.report.EvalReport
    options: {heading_level: 3}

::: capetune.errors
    options: {heading_level: 3}

::: capetune.events
    options: {heading_level: 3}
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    readme = (ROOT / "README.md").read_text().replace("# capetune", "# README", 1)
    typer = [sys.executable, "-m", "typer", "capetune.cli.main", "utils", "docs", "--name", "capetune"]
    commands = subprocess.run(typer, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    commands = commands.replace("# `capetune`", "# Commands", 1)
    for name, text in ((README, readme), ("commands.md", commands), ("python.md", PYTHON)):
        files.append(File.generated(config, name, content=text))
    for notebook in (ROOT / "docs").glob("*.ipynb"):
        files.append(File.generated(config, f"{notebook.stem}.md", content=read(notebook)))
    return files


def read(notebook: Path) -> str:
    """A notebook without outputs as Markdown. What mkdocs-jupyter makes of one asks other servers for scripts."""
    fences = {"code": ("```python\n", "\n```"), "markdown": ("", "")}
    parts = [(fences[cell["cell_type"]], "".join(cell["source"])) for cell in json.loads(notebook.read_text())["cells"]]
    whole = f'\n\n<a href="{notebook.name}" download>The notebook itself</a>\n'
    return "\n\n".join(f"{before}{text}{after}" for (before, after), text in parts) + whole


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead from where the page lies in the repository. Of what lies outside docs/ the words remain."""
    here = page.file.src_uri
    place = "README.md" if here == README else f"docs/{here}"

    def led(link: re.Match[str]) -> str:
        words, target, anchor = link.groups(default="")
        aim = normpath(join(dirname(place), target))
        uri = README if aim == "README.md" else re.sub(r"\.ipynb$", ".md", aim.removeprefix("docs/"))
        if files.get_file_from_path(uri):
            return f"[{words}]({relpath(uri, dirname(here) or '.')}{anchor})"
        return words if (ROOT / aim).exists() else link[0]  # what is nowhere stays, and mkdocs refuses it

    return LINK.sub(led, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    if found := ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} asks another server for something: {found[0]}")
    return output
