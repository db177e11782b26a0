"""A process forks while its threads work: what the child needs is not held by a thread that is gone."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core import threads

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["compile", "draw", "diagnose", "train"])
def test_no_child_of_a_fork_hangs(kind: str) -> None:
    """With one thread of BLAS: OpenBLAS itself, without this package, hangs in a fork beside products on several."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    script = str(Path(__file__).with_name("forks.py"))
    done = subprocess.run(
        [sys.executable, script, kind, "30"], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.stdout == "0 failed\n", done.stderr[-3000:]


def test_a_child_of_a_fork_within_a_trace_collects_garbage() -> None:
    status: list[int] = []

    def loss(w: tg.Tensor) -> tg.Tensor:
        if not status:
            assert not gc.isenabled()
            pid = os.fork()
            if pid == 0:
                os._exit(0 if gc.isenabled() else 1)
            status.append(os.waitpid(pid, 0)[1])
        return (w * w).sum()

    tg.compile(loss)(np.ones(2))
    assert status == [0]
    assert gc.isenabled()


class Library:
    """A BLAS whose number of threads is a number."""

    def __init__(self) -> None:
        self.n = 4

    def get_num_threads(self) -> int:
        return self.n

    def set_num_threads(self, n: int) -> None:
        self.n = n


def test_overlapping_loops_restore_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    library, shared = Library(), threads.OneThread()
    monkeypatch.setattr(threads, "_libraries", lambda: [library])
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def second() -> None:
        with shared:
            second_is_in.set()
            first_is_out.wait(20)

    other = threading.Thread(target=second)
    with shared:
        other.start()
        second_is_in.wait(20)
        assert library.n == 1
    first_is_out.set()
    other.join()
    assert library.n == 4


def test_overlapping_questions_restore_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    library, diagnosing = Library(), importlib.import_module("tinygrad_rnn.flow.diagnose")
    monkeypatch.setattr(threads, "_libraries", lambda: [library])
    look, first, seen = diagnosing.first_nonfinite, threading.current_thread(), []
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def ask() -> None:
        h, W = tg.zeros(3), tg.Tensor(np.eye(3) / 2, requires_grad=True)
        for _, x in tg.steps(np.ones((4, 3))):
            h = np.tanh(x @ W + h @ W)
        tg.diagnose((h * h).sum())

    other = threading.Thread(target=ask)

    def meeting(flow: object) -> object:
        if threading.current_thread() is first:
            other.start()
            second_is_in.wait(20)
        else:
            second_is_in.set()
            first_is_out.wait(20)
        seen.append(library.n)
        return look(flow)

    monkeypatch.setattr(diagnosing, "first_nonfinite", meeting)
    ask()
    first_is_out.set()
    other.join()
    assert seen[0] == 1
    assert library.n == 4
