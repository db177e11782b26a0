"""A process forks while its threads work: what the child needs is not held by a thread that is gone."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import threads

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
