"""Would the tests notice? `python benchmarks/mutants.py NUMBER [SEED]` changes the package, one place at a time.

A mutant is the package with one operator, comparison, constant or condition changed, drawn with a seed over the folders
below, in a copy of the tree. It is killed if one of the fast tests of its folder that run the changed line fails, or
takes too long. What survives is printed with its line: a test is missing there, or the change makes no difference.
"""

from __future__ import annotations

import ast
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from coverage import CoverageData

ROOT = Path(__file__).parents[1]
TESTS = {
    "flow": "tests/flow",
    "viz": "tests/viz",
    "train": "tests/train tests/app tests/security",
    "app": "tests/app",
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


def draw(rng: random.Random, number: int, folders: list[str]) -> list[tuple[str, Path, int]]:
    """As many mutants from each folder: the folder, the file and the number of the change in it."""
    found = []
    for folder in folders:
        place = ROOT / "tinygrad_rnn" / folder
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        every = [(folder, file, i) for file in files for i, _ in enumerate(mutations(ast.parse(file.read_text())))]
        found += rng.sample(every, min(len(every), -(-number // len(folders))))
    return found


def run(copy: Path, *arguments: str, seconds: int = 600) -> bool:
    """Whether the tests pass, in that time and with 8 GB: a mutant may loop for ever."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=seconds, check=False, preexec_fn=limit
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def tests_by_line(copy: Path, folder: str) -> dict[tuple[str, int], list[str]]:
    """Which of a folder's fast tests run each line of the package; "" is its import."""
    seen = copy / ".coverage"
    seen.unlink(missing_ok=True)
    options = ("--cov=tinygrad_rnn", "--cov-report=", "--cov-context=test")
    if not run(copy, *options, *TESTS[folder].split(), seconds=7200):
        raise SystemExit(f"the tests of {folder} fail before anything is changed")
    data, found = CoverageData(seen), {}
    data.read()
    for file in data.measured_files():
        for line, tests in data.contexts_by_lineno(file).items():
            found[str(Path(file).relative_to(copy)), line] = sorted({re.split(r"[|[]", test)[0] for test in tests})
    return found


def main(number: int, seed: int, folders: list[str]) -> None:
    made, killed = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        for file in (copy / "tinygrad_rnn").rglob("*.py"):  # as the mutants are written, so that lines agree
            file.write_text(ast.unparse(ast.parse(file.read_text())))
        tests = {folder: tests_by_line(copy, folder) for folder in folders}
        for folder, file, which in draw(random.Random(seed), number, folders):
            name = str(file.relative_to(ROOT))
            source, path = file.read_text(), copy / name
            unchanged = path.read_text()
            tree = ast.parse(unchanged)
            node, what = list(mutations(tree))[which]
            chosen = tests[folder].get((name, node.lineno), [])  # type: ignore[attr-defined]
            mutate(node, what)
            path.write_text(ast.unparse(tree))
            made[folder] += 1
            if chosen and not run(copy, *(TESTS[folder].split() if "" in chosen else chosen)):
                killed[folder] += 1
            else:
                at = list(mutations(ast.parse(source)))[which][0].lineno  # type: ignore[attr-defined]
                print(f"survived {len(chosen)} tests: {name}:{at} {what}: {source.splitlines()[at - 1].strip()}")
            sys.stdout.flush()
            path.write_text(unchanged)
    for folder in folders:
        print(f"{folder}: {killed[folder]} of {made[folder]} killed")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [300, 0][len(numbers) :]), sys.argv[3:] or list(TESTS))
