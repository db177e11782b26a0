"""Would the tests notice? `python benchmarks/mutants.py FOLDER [NUMBER [SEED]]` changes the package place by place.

A mutant is the package with one operator, comparison, constant or condition changed. NUMBER of them are drawn with a
seed over the rooms below, each place with the same chance. A mutant is killed if one of the fast tests of its room that
run its line fails or takes far too long; the quickest are tried first. What survives is printed with its line: a test
is missing there, or the change makes no difference and `explained_mutants.txt` says why.

The tests of a room are collected once. Each mutant is a fork of that process in which the changed functions get their
new code; one whose line is run by the import itself is a fork of a process that has imported NumPy and pytest alone.

FOLDER keeps what is found, so that a run which was stopped goes on: a copy of the tree, which test runs which line and
how long it takes (recorded once for each room), and a line for each mutant.
"""

from __future__ import annotations

import ast
import compileall
import gc
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate, zip_longest
from pathlib import Path
from py_compile import PycInvalidationMode
from types import CodeType, FunctionType
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
    "viz": "tests/viz tests/flow/test_inside.py tests/flow/test_watch.py",
}
FIRST, SECONDS = 12, 15  # tests that are tried before the others, and what all together take of a processor
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


def draw(copy: Path, number: int, seed: int) -> dict[str, list[tuple[str, int]]]:
    """The mutants of each room: a file, and the number of the place in it."""
    every = []
    for room in TESTS:
        for file in sorted([*copy.glob(f"tinygrad_rnn/{room}/**/*.py"), *copy.glob(f"tinygrad_rnn/{room}.py")]):
            count = sum(1 for _ in places(ast.parse(file.read_text("utf-8"))))
            every += [(room, str(file.relative_to(copy)), i) for i in range(count)]
    drawn = random.Random(seed).sample(every, min(number, len(every)))
    return {room: [(file, which) for other, file, which in drawn if other == room] for room in TESTS}


def forked(work: Callable[[], int]) -> int:
    """The exit code of `work` in a process group of its own, with 8 GB: a mutant may loop or wait for ever."""
    pid = os.fork()
    if pid:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return code
    code = 70
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
        code = work()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def run_pytest(*options: str, plugin: object = None) -> int:
    """Pytest's exit code in a fork; what it says is in said.txt, what it writes in the folder tmp."""

    def work() -> int:
        os.dup2(os.open("../said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        return pytest.main(["-q", "-n0", "-pno:cacheprovider", "--basetemp=../tmp", *options], plugin and [plugin])

    return forked(work)


def run_items(session: pytest.Session, items: list[pytest.Item]) -> Iterator[tuple[str, bool]]:
    """Runs tests that pytest has collected, in this order: the name of each, and whether it failed."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        failed = session.testsfailed
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield item.nodeid, session.testsfailed > failed


class Limits:
    """A plugin that notes which test is running, and ends one that takes ten times what it took when it was timed."""

    def __init__(self, times: dict[str, float]) -> None:
        self.times = times

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        Path("../running.txt").write_text(item.nodeid)
        seconds = math.ceil(10 * self.times[item.nodeid] + 5)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, resource.RLIM_INFINITY))
        signal.alarm(60 + 5 * seconds)  # it may wait for ever, which costs no processor time


class Room:
    """The tests of a room, and its mutants. Also a plugin of the process that has collected these tests."""

    def __init__(self, name: str, mutants: list[tuple[str, int]], folder: Path) -> None:
        self.name, self.mutants, self.folder = name, mutants, folder
        self.tests_of = dict[tuple[str, int], set[str]]()  # those that run a line of a file; "" is an import
        self.times = dict[str, float]()  # processor seconds of the tests that pass
        self.judged = self.read()

    def read(self) -> dict[tuple[str, int], dict[str, Any]]:
        log = self.folder / "mutants.jsonl"
        every = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return {(file, which): found for file, which, found in every if (file, which) in self.mutants}

    def judge(self) -> None:
        """A line in mutants.jsonl for each mutant."""
        lines, tests = self.folder / f"{self.name}.coverage", TESTS[self.name].split()
        if not lines.exists():
            os.environ["COVERAGE_FILE"] = str(lines)
            run_pytest(*tests, f"--cov=tinygrad_rnn.{self.name}", "--cov-report=", "--cov-context=test")
        data = CoverageData(str(lines))
        data.read()
        for file in data.measured_files():
            for line, contexts in data.contexts_by_lineno(file).items():
                names = {context.rpartition("|")[0] for context in contexts}
                self.tests_of[str(Path(file).relative_to(Path.cwd())), line] = names
        if run_pytest(*tests, plugin=self) or not self.times_known():
            raise SystemExit(f"the tests of {self.name} cannot be run: see {self.folder}/said.txt")
        self.judged = self.read()
        for file, which in self.mutants:
            if (file, which) not in self.judged:
                one = Mutant(self, file, which)
                one.judge(lambda tests: run_pytest("-x", *tests, plugin=Limits(self.times)))
        self.judged = self.read()

    def times_known(self) -> bool:
        file = self.folder / f"{self.name}.json"
        self.times = json.loads(file.read_text()) if file.exists() else {}
        return file.exists()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Times the tests, then judges in forks the mutants whose line no import runs."""
        if not self.times_known():
            forked(lambda: self.measure(session))
            self.times_known()
        items = {item.nodeid: item for item in session.items}
        package = [f for f in gc.get_objects() if type(f) is FunctionType]
        for file, which in self.mutants:
            one = Mutant(self, file, which)
            if (file, which) in self.judged or not (targets := one.functions(package)):
                continue

            def run(tests: list[str], targets: list[tuple[FunctionType, CodeType]] = targets) -> int:
                return forked(lambda: self.run_changed(session, [items[test] for test in tests], targets))

            one.judge(run)
        return True

    def measure(self, session: pytest.Session) -> int:
        found, started = dict[str, float](), sum(os.times()[:4])  # with children that have ended
        for test, failed in run_items(session, session.items):
            now = sum(os.times()[:4])
            if not failed:
                found[test] = now - started
            started = now
        return (self.folder / f"{self.name}.json").write_text(json.dumps(found)) and 0

    def run_changed(
        self, session: pytest.Session, items: list[pytest.Item], targets: list[tuple[FunctionType, CodeType]]
    ) -> int:
        for function, code in targets:
            function.__code__ = code
        session.config.pluginmanager.register(Limits(self.times))
        return any(failed for _, failed in run_items(session, items))


class Mutant:
    """One change, and the tests that it should not survive."""

    def __init__(self, room: Room, file: str, which: int) -> None:
        self.room, self.file, self.which = room, file, which
        self.source = Path(file).read_text("utf-8")
        self.text, self.node = mutant(self.source, which)
        statements = [s.lineno for s in ast.walk(ast.parse(self.source)) if isinstance(s, ast.stmt)]
        first = max(line for line in statements if line <= self.node.lineno)
        lines = range(self.node.lineno, first - 1, -1)  # a line inside a statement may have no code of its own
        found = next((room.tests_of[file, line] for line in lines if (file, line) in room.tests_of), set[str]())
        self.imported = "" in found  # by every test of the file
        if self.imported:
            found = {test for (other, _), tests in room.tests_of.items() if other == file for test in tests}
        self.tests = in_order(found, room.times)

    def functions(self, every: list[FunctionType]) -> list[tuple[FunctionType, CodeType]]:
        """The functions that the change changes, and their new code; none if a new import is needed."""
        old, new = (compile(text, self.file, "exec", dont_inherit=True) for text in (self.source, self.text))
        changed = {a: b for a, b in inner_code(old, new) if a != b}
        fits = all(b and a.co_freevars == b.co_freevars for a, b in changed.items())
        if self.imported or not fits:
            return []
        end = os.sep + self.file
        return [
            (f, changed[f.__code__]) for f in every if f.__code__.co_filename.endswith(end) and f.__code__ in changed
        ]

    def judge(self, run: Callable[[list[str]], int]) -> None:
        """Writes down whether the tests notice, by an exit code that is not 0."""
        started, file = time.monotonic(), Path(self.file)
        Path("../running.txt").write_text("import")
        kept = self.room.folder / "unchanged.json"  # for the next run, if this one is stopped here
        kept.write_text(json.dumps([self.file, self.source]))
        file.write_text(self.text, "utf-8")
        code = run(self.tests) if self.tests else 0
        file.write_text(self.source, "utf-8")
        kept.unlink()
        was, now = (text.splitlines()[self.node.lineno - 1].strip() for text in (self.source, self.text))
        found = {"line": self.node.lineno, "was": was, "is": now, "code": code, "tests": len(self.tests)}
        found |= {"by": Path("../running.txt").read_text(), "s": round(time.monotonic() - started, 1)}
        with (self.room.folder / "mutants.jsonl").open("a") as log:
            log.write(json.dumps([self.file, self.which, found]) + "\n")


def inner_code(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType | None]]:
    """The code of functions in two sources that differ in one expression, side by side."""
    inner = [[part for part in code.co_consts if isinstance(part, CodeType)] for code in (old, new)]
    for a, b in zip_longest(*inner):
        if a:
            yield a, b
        if a and b:
            yield from inner_code(a, b)


def in_order(tests: set[str], times: dict[str, float]) -> list[str]:
    """The first few, quickest first and each function before its other parameters, then the others file by file."""
    seen, ranked = Counter[str](), []
    for test in sorted(tests & times.keys(), key=lambda test: times[test]):
        function = test.partition("[")[0]
        ranked.append((seen[function], times[test], test))
        seen[function] += 1
    ranked.sort()
    until = accumulate(spent for _, spent, _ in ranked)
    chosen = [test for (_, _, test), seconds in zip(ranked, until, strict=True) if seconds < SECONDS]
    return chosen[:FIRST] + sorted(chosen[FIRST:])


def explained() -> dict[tuple[str, str, str], str]:
    """Survivors that make no difference, and why: a paragraph each of file, line, changed line and reason."""
    paragraphs = (ROOT / "benchmarks" / "explained_mutants.txt").read_text("utf-8").strip().split("\n\n")
    split = [paragraph.split("\n", 3) for paragraph in paragraphs]
    return {(file, was.removeprefix("- "), now.removeprefix("+ ")): why for file, was, now, why in split}


def main(folder: Path, number: int = 300, seed: int = 0) -> int:
    """The number of survivors that nothing explains."""
    copy, reasons = folder / "tree", explained()
    folder.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "build"))
        hashed = PycInvalidationMode.CHECKED_HASH  # a mutant may have the size and the second of what it changes
        compileall.compile_dir(copy / "tinygrad_rnn", quiet=1, invalidation_mode=hashed)
    os.chdir(copy)
    if (kept := folder / "unchanged.json").exists():
        file, source = json.loads(kept.read_text())
        Path(file).write_text(source, "utf-8")
    os.environ |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    sys.path[0] = str(copy)
    import jinja2, matplotlib.pyplot  # noqa: E401, F401, I001  once, for all forks

    unexplained = 0
    for name, mutants in draw(copy, number, seed).items():
        room = Room(name, mutants, folder)
        if len(room.judged) < len(mutants):
            room.judge()
        survived = [(file, found) for (file, _), found in room.judged.items() if not found["code"]]
        for file, found in survived:
            why = reasons.get((file.removeprefix("tinygrad_rnn/"), found["was"], found["is"]), "")
            unexplained += not why
            state = "survived, explained" if why else f"survived {found['tests']} tests"
            print(f"{state}: {file}:{found['line']}\n- {found['was']}\n+ {found['is']}\n{why}", flush=True)
        print(f"== {name}: {len(mutants) - len(survived)} of {len(mutants)} killed", flush=True)
    print(f"{unexplained} survivors without an explanation")
    return unexplained


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), *map(int, sys.argv[2:4])) > 0)
