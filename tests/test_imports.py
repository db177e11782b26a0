"""Imports point one way, from the room that knows more to the one that knows less, and few modules stand loose."""

from __future__ import annotations

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinygrad_rnn

PACKAGE = Path(tinygrad_rnn.__file__).parent

LEVELS = [
    {"escape"},
    {"errors"},
    {"files"},
    {"debug"},
    {"core"},
    {"derivatives", "ops"},
    {"optim", "nn"},
    {"bptt", "flow"},
    {"compiler", "viz"},
    {"train"},
    {"__init__"},
    {"app"},
    {"__main__"},
]
"""A room may import from those before its own level, not from its neighbours."""

LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}

EXCEPTIONS = {
    ("train.trainer", "__init__"): "reads __version__, which is set before any import",
    ("bptt.references", "flow"): "the generic reference asks the graph for the gradient of each step",
    ("viz.page.document", "__init__"): "reads __name__, by which the templates are found; it is set before any import",
}
"""The wrong ways that there are, from a room or one of its modules, each with its reason."""


def imports(module: str, source: str, is_package: bool) -> Iterator[str]:
    """The rooms that a module of the package imports, wherever in the file; "__init__" is the public face."""
    parts = ["tinygrad_rnn", *([] if module == "__init__" else module.split("."))]
    folder = parts if is_package else parts[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            found = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for names in found:
            if names[0] == "tinygrad_rnn":
                yield names[1] if len(names) > 1 and names[1] in LEVEL else "__init__"


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


def wrong(module: str, source: str, is_package: bool = False) -> set[tuple[str, str]]:
    """What this module imports from its own level or above, as (the module, the room)."""
    room = module.split(".")[0]
    return {
        (module, target)
        for target in imports(module, source, is_package)
        if target != room and LEVEL[target] >= LEVEL[room]
    }


def excuse(module: str, target: str) -> tuple[str, str] | None:
    """The exception that allows this import, if there is one."""
    keys = [(module, target), (module.split(".")[0], target)]
    return next((key for key in keys if key in EXCEPTIONS), None)


def test_no_import_points_the_wrong_way() -> None:
    found = {edge for name, path in modules() for edge in wrong(name, path.read_text(), path.name == "__init__.py")}
    refused = sorted(f"{module} imports {target}" for module, target in found if excuse(module, target) is None)
    assert not refused, f"these imports point the wrong way (see ARCHITECTURE.md): {refused}"
    assert {excuse(*edge) for edge in found} == set(EXCEPTIONS), "an exception that is no longer needed must go"


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = dict(modules())
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        folder = path.relative_to(PACKAGE).parent.parts
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*folder[: len(folder) - node.level + 1], *(node.module or "").split(".")]
                base = [part for part in base if part]
                targets = {".".join([*base, alias.name]) for alias in node.names} & set(files)
                graph.setdefault(name, set()).update(targets or {".".join(base)} - {""})
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("core.tensor", "from ..flow.sweep import x", "flow"),
        ("core.tensor", "def f():\n    from .. import nn", "nn"),
        ("ops.linalg", "import tinygrad_rnn.viz", "viz"),
        ("ops.linalg", "from .. import Tensor", "__init__"),
        ("ops", "from ..derivatives import jacobian", "derivatives"),
        ("viz.page.charts", "from ...compiler import tape", "compiler"),
        ("flow.sweep", "from tinygrad_rnn import app", "app"),
    ],
)
def test_a_wrong_import_is_found_in_every_form(module: str, source: str, target: str) -> None:
    assert wrong(module, source, is_package=module == "ops") == {(module, target)}
    assert excuse(module, target) is None


def test_no_more_modules_stand_loose_at_the_top() -> None:
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__", "__main__", "errors", "escape", "files", "optim"}
    assert loose | {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(LEVEL)


def test_what_draws_compiles_and_trains_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, tinygrad_rnn as tg\n"
        "late = [m for m in sys.modules if m.startswith(('matplotlib', 'tqdm', 'safetensors', *("
        "f'tinygrad_rnn.{room}' for room in ('bptt', 'compiler', 'flow', 'train', 'viz'))))]\n"
        "assert not late, late\n"
        "assert callable(tg.compile) and tg.compile is tg.compiler.compile\n"
        "assert set(tg.__all__) <= set(dir(tg)) and all(hasattr(tg, name) for name in tg.__all__)\n"
        "assert not hasattr(tg, 'nothing')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
