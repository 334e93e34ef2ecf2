"""The house's rules, read off the imports with `ast`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = [
    "errors",
    "pose",
    "yaml12",
    "config",
    "events",
    "trial_events",
    "storage",
    "cluster",
    "models",
    "datasets",
    "evaluation",
    "runs",
    "training",
    "prediction",
    "serving",
    "tuning",
    "service",
    "reports",
    "cli",
]
FLOORS = ["mp100", "labels", "packs", "episodes"]  # of datasets; synthetic stands apart
HOMES = {
    "ray": ("cluster/", "training/worker", "training/launch", "serving/", "tuning/"),
    "fastapi": ("serving/",),
    "starlette": ("serving/",),
    "optuna": ("tuning/", "reports/"),
    "plotly": ("reports/",),
    "jinja2": ("reports/",),
    "obstore": ("storage/",),
    "h5py": ("datasets/mp100/labels", "datasets/labels/"),
    "rich": ("reports/", "cli/", "tuning/preflight"),
    "yaml": ("yaml12", "config"),
    "webdataset": ("datasets/packs/", "datasets/episodes/stream"),
    "typer": ("cli/",),
}
SLOW = {
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "optuna",
    "webdataset",
    "timm",
    "cv2",
    "matplotlib",
    "plotly",
    "jinja2",
    "pydantic",
}


def sources() -> list[tuple[str, Path]]:
    """(module path below the package such as "datasets/mp100", file) of every source file, each once."""
    found = []
    for file in sorted(ROOT.glob("capetune/**/*.py")):
        found.append((file.relative_to(ROOT / "capetune").with_suffix("").as_posix(), file))
    for folder in ("datasets", "cli"):
        for file in sorted((ROOT / folder).glob("**/*.py")):
            found.append((file.relative_to(ROOT).with_suffix("").as_posix(), file))
    return sorted(dict(found).items())


def imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def level(name: str) -> int | None:
    parts = name.split(".")
    return ORDER.index(parts[1]) if parts[0] == "capetune" and len(parts) > 1 and parts[1] in ORDER else None


@pytest.mark.parametrize(("module", "file"), sources(), ids=lambda x: x if isinstance(x, str) else "")
def test_imports_go_one_way(module: str, file: Path) -> None:
    own = ORDER.index(module.split("/")[0]) if module.split("/")[0] in ORDER else len(ORDER)
    for name in imports(ast.parse(file.read_text())):
        other = level(name)
        assert other is None or other <= own, f"{module} imports {name}, which comes later"
        assert name.split(".")[0] not in ("datasets", "cli", "search_spaces"), f"{module}: say capetune.{name}"


@pytest.mark.parametrize(("module", "file"), sources(), ids=lambda x: x if isinstance(x, str) else "")
def test_a_floor_of_datasets_imports_only_those_below(module: str, file: Path) -> None:
    room, _, rest = module.partition("/")
    floor = rest.split("/")[0]
    names = imports(ast.parse(file.read_text())) if room == "datasets" and "/" in rest else []
    for other in {
        name.split(".")[2] for name in names if name.startswith("capetune.datasets.") and name.count(".") > 1
    }:
        if floor == "synthetic":
            assert other == "synthetic", f"{module} imports {other}: the synthetic set stands apart"
        elif other in FLOORS:
            assert FLOORS.index(other) <= FLOORS.index(floor), f"{module} imports {other}, a later floor"
        else:
            assert other == floor, f"{module} imports {other}"


@pytest.mark.parametrize(("module", "file"), sources(), ids=lambda x: x if isinstance(x, str) else "")
def test_frameworks_stay_in_their_rooms(module: str, file: Path) -> None:
    for name in imports(ast.parse(file.read_text())):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or module.startswith(homes), f"{module} imports {name}; its homes are {homes}"


@pytest.mark.parametrize(("module", "file"), sources(), ids=lambda x: x if isinstance(x, str) else "")
def test_what_rich_prints_is_never_read_as_markup(module: str, file: Path) -> None:
    """Names and paths are data: `[left]` is a category, `r[/bold]` a folder, `:dog:` a word."""
    wanted = {"Console": {"markup", "highlight", "emoji"}, "TextColumn": {"markup"}}
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        said = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        off = {word for word, value in said.items() if value is False}
        assert wanted.get(name, set()) <= off, f"{module}, line {node.lineno}: {name} wants {wanted[name]} off"
        assert name not in ("from_markup", "render_markup"), f"{module}, line {node.lineno}: give a Text its styles"
        assert not said.get("markup"), f"{module}, line {node.lineno}: give a Text its styles"


def test_commands_are_thin() -> None:
    for module, file in sources():
        if module.startswith("cli/"):
            lines, most = len(file.read_text().splitlines()), 130 if module == "cli/main" else 115
            assert lines <= most, f"{module} has {lines} lines: what it prints belongs into reports/"


def test_commands_import_nothing_slow_at_the_top() -> None:
    for module, file in sources():
        if module.startswith("cli/"):
            lazy = (ast.FunctionDef, ast.If)  # functions, and `if TYPE_CHECKING:`
            top = ast.Module([n for n in ast.parse(file.read_text()).body if not isinstance(n, lazy)], [])
            for name in imports(top):
                assert name.split(".")[0] not in SLOW, f"{module} imports {name} at its top"
                assert not name.startswith("capetune.") or name.startswith(("capetune.cli", "capetune.errors"))


def test_the_three_folders_are_namespaces() -> None:
    """An __init__.py there would shadow Hugging Face's `datasets` for whoever runs from this folder."""
    for folder in ("datasets", "cli", "search_spaces"):
        assert not (ROOT / folder / "__init__.py").exists()
        assert (ROOT / "capetune" / folder).is_symlink()
