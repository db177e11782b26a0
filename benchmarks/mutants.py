"""Would the tests notice? `python benchmarks/mutants.py NUMBER [SEED]` changes the package, one place at a time.

A mutant is the package with one operator, comparison, constant or condition changed, drawn with a seed over the folders
below, in a copy of the tree. It is killed if the fast tests of its folder fail, or take longer than ten minutes. What
survives is printed with its line: a test is missing there, or the change makes no difference.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = {
    "flow": "tests/flow",
    "viz": "tests/viz",
    "app/train": "tests/app tests/security",
    "nn": "tests/nn",
    "optim.py": "tests/test_optim.py",
    "compiler": "tests/compiler",
}
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutations(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every place that can be changed, and how. Messages and type hints are left alone."""
    passed_over = (ast.Raise, ast.JoinedStr, ast.AnnAssign, ast.arguments)
    open_nodes = [tree]
    while open_nodes:
        node = open_nodes.pop()
        open_nodes += [child for child in ast.iter_child_nodes(node) if not isinstance(child, passed_over)]
        if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
            yield node, "op"
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield node, "ops"
        elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
            yield node, "value"
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield node, "test"


def mutate(node: ast.AST, what: str) -> None:
    """Change a node in place."""
    if isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)


def draw(rng: random.Random, number: int) -> list[tuple[str, Path, int]]:
    """As many mutants from each folder: the folder, the file and the number of the change in it."""
    found = []
    for folder in TESTS:
        place = ROOT / "tinygrad_rnn" / folder
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        every = [(folder, file, i) for file in files for i, _ in enumerate(mutations(ast.parse(file.read_text())))]
        found += rng.sample(every, min(len(every), -(-number // len(TESTS))))
    rng.shuffle(found)
    return found[:number]


def survives(copy: Path, folder: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS[folder].split()]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main(number: int, seed: int) -> None:
    made, killed = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        for folder, file, which in draw(random.Random(seed), number):
            source = file.read_text()
            tree = ast.parse(source)
            node, what = list(mutations(tree))[which]
            mutate(node, what)
            path = copy / file.relative_to(ROOT)
            path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
            made[folder] += 1
            if survives(copy, folder):
                line = source.splitlines()[node.lineno - 1].strip()  # type: ignore[attr-defined]
                print(f"survived: {file.relative_to(ROOT)}:{node.lineno} {what}: {line}", flush=True)  # type: ignore[attr-defined]
            else:
                killed[folder] += 1
            path.write_text(source)
    for folder in TESTS:
        print(f"{folder}: {killed[folder]} of {made[folder]} killed")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
