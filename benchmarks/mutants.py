"""Would the tests notice? `python benchmarks/mutants.py FOLDER [NUMBER [SEED]]` changes the package place by place.

A mutant is the package with one operator, comparison, constant or condition changed. NUMBER of them are drawn with a
seed over the rooms below, each place with the same chance. A mutant is killed if one of the fast tests of its room that
run its line fails or takes too long; the quickest are tried first. What survives is printed with its line: a test is
missing there, or the change makes no difference.

FOLDER keeps what is found, so that a run which was stopped goes on: a copy of the tree, which test runs which line and
how long it takes (recorded once for each room), and a line for each mutant.
"""

from __future__ import annotations

import ast
import json
import math
import os
import random
import resource
import shutil
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "optim": "tests/test_optim.py",
    "nn": "tests/nn tests/security/test_hostile_files.py tests/security/test_files.py",
    "flow": "tests/flow",
    "train": "tests/train tests/app tests/security",
    "compiler": "tests/compiler",
    "viz": "tests/viz",
    "app": "tests/app",
}
EXPLAINED = {
    "if scale < 1: -> if (scale <= 1):": "gradients scaled by 1 are the same",
}
"""Survivors that make no difference, and why: the line as it was and as it is."""
FIRST, SECONDS = 12, 40  # tests of the first try; what the tests of the second took when they were recorded
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def places(tree: ast.AST) -> Iterator[ast.expr]:
    """Every expression that can be changed. Messages, docstrings and type hints are left alone."""
    passed_over = (ast.Raise, ast.JoinedStr, ast.AnnAssign, ast.arguments, ast.MatchValue)
    open_nodes = [tree]
    while open_nodes:
        node = open_nodes.pop()
        open_nodes += [child for child in ast.iter_child_nodes(node) if not isinstance(child, passed_over)]
        if (
            (isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS)
            or (isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS)
            or (isinstance(node, ast.Constant) and type(node.value) in (bool, int, float))
        ):
            yield node
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield node.test


def changed(node: ast.expr) -> ast.expr:
    """What stands there in the mutant."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    else:
        return ast.UnaryOp(ast.Not(), node)
    return node


def mutant(source: str, which: int) -> tuple[str, ast.expr]:
    """The source with one place changed, every other line where it was, and the place."""
    node = list(places(ast.parse(source)))[which]
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    text = f"({ast.unparse(changed(node))}{chr(10) * (last - first)})".encode()
    return b"".join([*lines[:first], before + text + after, *lines[last + 1 :]]).decode(), node


def draw(package: Path, number: int, seed: int) -> list[tuple[str, Path, int]]:
    """The mutants, room by room: the room, a file, and the number of the place in it."""
    files = {room: [*(package / room).rglob("*.py"), *package.glob(f"{room}.py")] for room in TESTS}
    every = [
        (room, file, i)
        for room in TESTS
        for file in sorted(files[room])
        for i, _ in enumerate(places(ast.parse(file.read_text("utf-8"))))
    ]
    return sorted(random.Random(seed).sample(every, min(number, len(every))), key=lambda one: list(TESTS).index(one[0]))


def forked(work: Callable[[], int]) -> int:
    """The exit code of `work` in a process of its own, without output, with 8 GB: a mutant may loop for ever."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
        os.dup2(os.open("../said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        code = work()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def run(tests: Iterable[str], *options: str, seconds: int = 0, plugin: Any = None) -> int:
    """Pytest's exit code; processor time beyond `seconds` kills."""

    def work() -> int:
        if seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        return pytest.main(["-qx", "-n0", "-pno:cacheprovider", *options, *tests], [plugin] if plugin else [])

    return forked(work)


class Times:
    """A plugin that writes how long each test takes that passes."""

    def __init__(self, file: Path) -> None:
        self.file, self.found = file, defaultdict[str, float](float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.found[report.nodeid] += report.duration if report.passed else math.inf

    def pytest_sessionfinish(self) -> None:
        passed = {test: spent for test, spent in self.found.items() if spent < math.inf}
        self.file.write_text(json.dumps(passed))


def record(copy: Path, room: str) -> tuple[dict[str, float], dict[tuple[str, int], set[str]]]:
    """How long each fast test of a room takes, and which of them run each line of it; "" is its import."""
    times, lines = copy.parent / f"{room}.json", copy.parent / f"{room}.coverage"
    if not times.exists():
        options = ("--maxfail=1000", f"--cov=tinygrad_rnn.{room}", "--cov-report=", "--cov-context=test")
        os.environ["COVERAGE_FILE"] = str(lines)
        if run(TESTS[room].split(), *options, plugin=Times(times)) > pytest.ExitCode.TESTS_FAILED:
            raise SystemExit(f"the tests of {room} cannot be run: see {copy.parent}/said.txt")
    data, found = CoverageData(str(lines)), {}
    data.read()
    for file in data.measured_files():
        for line, tests in data.contexts_by_lineno(file).items():
            found[str(Path(file).relative_to(copy)), line] = {test.rpartition("|")[0] for test in tests}
    return json.loads(times.read_text()), found


def in_order(tests: set[str], times: dict[str, float]) -> list[str]:
    """Quickest first, and the first of each function before its other parameters; as many as take SECONDS."""
    seen, chosen, total = Counter[str](), [], 0.0
    ranked = []
    for test in sorted(tests & times.keys(), key=lambda test: times[test]):
        function = test.partition("[")[0]
        ranked.append((seen[function], times[test], test))
        seen[function] += 1
    for _, spent, test in sorted(ranked):
        total += spent
        if total > SECONDS and len(chosen) >= FIRST:
            break
        chosen.append(test)
    return chosen


def is_killed(tests: list[str]) -> bool:
    """Whether one of them fails: the first few, then the others, file by file so that modules are set up once."""
    first, others = tests[:FIRST], sorted(tests[FIRST:])
    return any(part and run(part, seconds=120 if part is first else 300) for part in (first, others))


def judge(copy: Path, file: Path, which: int, times: dict[str, float], tests_of: Any) -> dict[str, Any]:
    """Whether a mutant is killed, and what it was."""
    started, name = time.monotonic(), str(file.relative_to(copy))
    source = file.read_text("utf-8")
    text, node = mutant(source, which)
    tests = tests_of.get((name, node.lineno), set())
    if "" in tests:  # run by the import: by every test of the file
        tests = {test for (other, _), found in tests_of.items() if other == name for test in found}
    chosen = in_order(tests - {""}, times)
    file.write_text(text, "utf-8")
    dead = is_killed(chosen)
    file.write_text(source, "utf-8")
    was, now = (code.splitlines()[node.lineno - 1].strip() for code in (source, text))
    seconds = round(time.monotonic() - started, 1)
    return {"at": f"{name}:{node.lineno}", "was": was, "is": now, "killed": dead, "tests": len(chosen), "s": seconds}


def main(folder: Path, number: int = 300, seed: int = 0) -> None:
    copy, log = folder / "tree", folder / "mutants.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "build"))
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path[0] = str(copy)
    import jinja2, matplotlib.pyplot  # noqa: E401, F401, I001  once, for all forks

    known = dict(json.loads(line) for line in log.read_text().splitlines()) if log.exists() else {}
    made, killed, explained, recorded = Counter[str](), Counter[str](), Counter[str](), dict[str, Any]()
    for room, file, which in draw(copy / "tinygrad_rnn", number, seed):
        key = f"{file.relative_to(copy)} {which}"
        if key not in known:
            if room not in recorded:
                recorded = {room: record(copy, room)}
            known[key] = judge(copy, file, which, *recorded[room])
            with log.open("a") as lines:
                lines.write(json.dumps([key, known[key]]) + "\n")
        found = known[key]
        made[room] += 1
        killed[room] += found["killed"]
        why = EXPLAINED.get("{was} -> {is}".format(**found))
        explained[room] += bool(why) and not found["killed"]
        if not found["killed"]:
            print("survived {tests} tests, {at}: {was} -> {is}".format(**found), f"({why})" if why else "", flush=True)
    for room in made:
        print(f"{room}: {killed[room]} of {made[room]} killed, {explained[room]} of the others explained")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:4]))
