"""Forks while three threads work; run by `test_forks.py` as `python forks.py KIND FORKS`.

Each child does the same work once. It prints how many children did not end well; one that hangs is killed by its alarm.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import viz
from tinygrad_rnn.app import tasks

XS = np.ones((4, 3))


def states(W: tg.Tensor) -> list[tg.Tensor]:
    h, found = tg.zeros(3), []
    for _, x in tg.steps(XS):
        h = np.tanh(x @ W + h @ W)
        found.append(h)
    return found


def losses() -> list[tg.Tensor]:
    return [(h * h).sum() for h in states(tg.Tensor(np.full((3, 3), 0.3), requires_grad=True, name="W"))]


def compile_and_run() -> None:
    step = tg.compile(lambda W: sum((h * h).sum() for h in states(W)))
    for _ in range(3):
        step(np.full((3, 3), 0.3))
    step.explain()


def draw() -> None:
    flow = tg.gradient_flow(sum(losses()))
    viz.unrolled(flow).svg()
    viz.page(flow).html()


def question() -> None:
    str(tg.diagnose(losses()))
    tg.spectrum(states(tg.Tensor(np.full((3, 3), 0.3), requires_grad=True, name="W")))


def learn() -> None:
    choices = {"lag": 10, "hidden": 4, "batch": 4, "steps": 4, "eval_every": 2, "save_every": 2}
    with tempfile.TemporaryDirectory() as folder:
        tasks.TaskTrainer(tasks.Settings.of("adding", **choices), folder).run(lambda line: None, progress=True)


WORK: dict[str, Callable[[], None]] = {"compile": compile_and_run, "draw": draw, "diagnose": question, "train": learn}


def child(work: Callable[[], None]) -> int:
    faulthandler.dump_traceback_later(15)
    signal.alarm(20)
    work()
    return 0 if gc.isenabled() else 4


def main(kind: str, forks: int) -> int:
    work, rng = WORK[kind], random.Random(0)
    work()  # imports what it needs

    def forever() -> None:
        while True:
            work()

    for _ in range(3):
        threading.Thread(target=forever, daemon=True).start()
    sys.setswitchinterval(1e-4)
    failed = 0
    for _ in range(forks):
        time.sleep(rng.random() * 0.02)
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(child(work))
            finally:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                os._exit(3)
        _, status = os.waitpid(pid, 0)
        failed += status != 0
        if failed == 2:
            break
    print(f"{failed} failed", flush=True)
    os._exit(0)


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of what is tested here
    main(sys.argv[1], int(sys.argv[2]))
