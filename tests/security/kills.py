"""Training runs that are stopped within the calls by which they write files; run by `test_kills.py`.

`python kills.py WORK KIND KILLS` forks a run for each of KILLS phases, spread over all: a phase is the moment before or
after an open, fsync, rename, removal or mkdir. There the run is killed (KIND is "kill"), or the system refuses from
then on (the name of an error, "memory", or "removed", which takes the folder away). Then it is continued.
Each line printed names a phase and what is wrong there.
"""

from __future__ import annotations

import builtins
import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.app import cli
from tinygrad_rnn.train import saved

TEXT = "the quick brown fox jumps over the lazy dog; " * 60
CHANGING = ("open", "fsync", "replace", "mkdir")


def command(work: Path, folder: Path) -> list[str]:
    sizes = "--hidden 8 --embedding 4 --batch 4 --k1 8 --dropout 0.2 --steps 12 --eval-every 2 --save-every 3"
    return ["train", "char", "--resume", "--text", str(work / "text"), "--out", str(folder), *sizes.split()]


def watch(folder: Path, at: Callable[[str], None]) -> None:
    """Call `at` before and after each call that opens, syncs, renames, removes or makes something of the folder."""

    def watched(name: str, real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            ours = str(folder) in str(args[0]) or name == "fsync"
            if ours:
                at(name)
            found = real(*args, **options)
            if ours:
                at("after")
            return found

        return call

    for name in (*CHANGING, "unlink"):
        setattr(os, name, watched(name, getattr(os, name)))
    builtins.open = watched("open", builtins.open)  # type: ignore[assignment]


def child(work: Path, folder: Path, kind: str, number: int) -> int:
    """Run to the end, or until phase `number`; the exit code. It prints how many phases there were."""
    seen = 0

    def at(call: str) -> None:
        nonlocal seen
        seen += 1
        if seen < number or kind == "none":
            return
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "removed" and seen == number:
            shutil.rmtree(folder, ignore_errors=True)
        elif kind == "memory" and call in CHANGING:
            raise MemoryError
        elif kind in errno.errorcode.values() and call in CHANGING:
            raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)))

    watch(folder, at)
    code = cli.main(command(work, folder))
    print(f"phases {seen}", flush=True)
    return code


def forked(work: Path, folder: Path, kind: str, number: int) -> tuple[int, str, str]:
    """The exit code of a run in a process of its own, and what it printed."""
    said = [work / "out", work / "err"]
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        for handle, path in enumerate(said, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
        code = 70
        try:
            code = child(work, folder, kind, number)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    out, err = (path.read_text() for path in said)
    return os.waitstatus_to_exitcode(status), out, err


def main(work: Path, kind: str, kills: int) -> None:
    (work / "text").write_text(TEXT)
    code, out, err = forked(work, work / "whole", "none", 0)
    assert code == 0, err
    whole = saved.load_newest(work / "whole")[0]
    phases = int(out.split()[-1])
    numbers = sorted({int(n) for n in np.linspace(1, phases - 2, kills)})
    print(f"{len(numbers)} phases", flush=True)
    for number in numbers:
        folder = work / f"{kind}{number}"
        code, out, err = forked(work, folder, kind, number)
        refused = code == 2 and err.count("\n") == 1 and err.startswith("tinygrad-rnn: ")
        undisturbed = code == 0 and "done after 12 steps" in out  # nothing was left to write
        if code != -signal.SIGKILL if kind == "kill" else not (refused or undisturbed):
            print(f"phase {number}: exit code {code}, said {err[-300:]!r}")
        before = len(list(folder.glob("step-*"))) if folder.exists() else 0
        code, out, err = forked(work, folder, "none", 0)
        if code or (before and "continuing" not in out) or "not used" in out:
            print(f"phase {number}: not continued, {out[-300:]!r} {err[-300:]!r}")
            continue
        found = saved.load_newest(folder)[0]
        same = all(np.array_equal(found.arrays[name], array) for name, array in whole.arrays.items())
        if not same or found.record != whole.record:
            print(f"phase {number}: another end")
        if list(folder.glob(".*")):
            print(f"phase {number}: left {sorted(path.name for path in folder.glob('.*'))}")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
