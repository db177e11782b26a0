"""Rounds of training, drawing, diagnosing and compiling, and their memory: `python benchmarks/soak.py MINUTES`.

A growth that goes on with the rounds is a leak where it is memory in use, and fragmentation where `malloc` holds it
free. The first rounds fill caches and are not counted. Needs glibc 2.33.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import viz
from tinygrad_rnn.app import tasks

LIBC = ctypes.CDLL(None)


def losses(W: tg.Tensor) -> list[tg.Tensor]:
    h, found = tg.zeros((2, 8)), []
    for _, x in tg.steps(np.ones((6, 2, 8))):
        h = np.tanh(x @ W + h @ W)
        found.append((h * h).mean())
    return found


def one_round(number: int, folder: Path) -> None:
    """Each thing once, with weights and shapes that no round had before."""
    rng = np.random.default_rng(number)
    W = tg.Tensor(rng.normal(0, 0.3, (8, 8)), requires_grad=True, name=f"W{number}")
    flow = tg.gradient_flow(sum(losses(W)))
    viz.unrolled(flow).svg()
    viz.page(flow, tg.diagnose(losses(W))).save(folder / "page.html")
    step = tg.compile(lambda W: sum(losses(W)))
    for _ in range(3):
        step(rng.normal(0, 0.3, (8, 8)))
    choices = {"lag": 10, "hidden": 8, "batch": 4, "steps": 6, "eval_every": 3, "seed": number}
    run = tempfile.mkdtemp(dir=folder)
    tasks.TaskTrainer(tasks.Settings.of("adding", **choices), run).run(lambda line: None, progress=False)


class MallInfo(ctypes.Structure):
    """What glibc's `mallinfo2` answers, in bytes."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    ))  # fmt: skip


LIBC.mallinfo2.restype = MallInfo


KINDS = "resident MB", "malloc in use MB", "malloc free MB", "Python blocks"


def held() -> tuple[float, ...]:
    """Memory of this process by kind; Python's small objects are not in what `malloc` knows."""
    gc.collect()
    info = LIBC.mallinfo2()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    in_use, free = info.uordblks + info.hblkhd, info.fordblks
    return pages * resource.getpagesize() / 1e6, in_use / 1e6, free / 1e6, sys.getallocatedblocks()


def main(minutes: float) -> None:
    end = time.monotonic() + 60 * minutes
    seen, rounds = np.zeros((100_000, len(KINDS))), 0  # made beforehand: what is noted must not grow itself
    seen[:] = 1
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            one_round(rounds, Path(folder))
            seen[rounds] = held()
            rounds += 1
            if rounds % 100 == 0:
                print(rounds, seen[rounds - 1].round(1).tolist(), flush=True)
    print(f"{rounds} rounds in {minutes:g} minutes; after a tenth, at the end, and the slope over the second half:")
    half = seen[rounds // 2 : rounds]
    slopes = np.polyfit(np.arange(len(half)), half, 1)[0] * 1000
    for kind, early, late, slope in zip(KINDS, seen[rounds // 10], seen[rounds - 1], slopes, strict=True):
        print(f"{kind:17s} {early:10.1f} {late:10.1f} {slope:+9.2f} in 1,000 rounds")
    LIBC.malloc_trim(0)
    print(f"resident after malloc_trim {held()[0]:.1f} MB")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
