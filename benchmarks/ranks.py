"""What an update costs on several ranks, part by part: `mpiexec -n N python benchmarks/ranks.py [CELL] [BACKEND]`.

Hidden size 128, 64 sequences of 64 steps, 64 classes; one thread of linear algebra for each rank (OMP_NUM_THREADS=1).
Without mpiexec it runs itself with 1 and 2 ranks, for RNN and LSTM.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.train.ranks import SIZES, world

V, H, B, T = 64, 128, 64, 64
UPDATES = 40


class Net(tg.nn.Module):
    """A recurrent layer and a linear one."""

    def __init__(self, cell: str) -> None:
        self.rnn = getattr(tg.nn, cell)(V, H, rng=0)
        self.head = tg.nn.Linear(H, V, rng=0)

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(x)[0])


def sequences() -> Any:
    """1,024 random sequences, one-hot, and what follows."""
    ids = np.random.default_rng(0).integers(0, V, (T + 1, 1024))
    return np.eye(V, dtype=np.float32)[ids[:-1]].astype(np.float64), ids[1:]


def measure(cell: str, backend: str) -> None:
    """Print the median milliseconds of an update, and those of its parts on this rank."""
    data = tg.train.Batches(*sequences(), size=B)
    trainer = tg.train.Trainer(
        Net(cell),
        lambda model, x, y: tg.softmax_cross_entropy(model(x), y),
        data,
        steps=UPDATES,
        backend=backend,  # type: ignore[arg-type]
        comm=world(),
    )
    spent: dict[str, list[float]] = defaultdict(list)

    def timed(owner: Any, name: str, part: str) -> None:
        plain: Callable[..., Any] = getattr(owner, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                spent[part].append(1e3 * (time.perf_counter() - began))

        setattr(owner, name, run)

    timed(trainer, "advance", "update")
    timed(trainer, "_batch", "batch")
    timed(trainer, "_gradients", "gradients")
    timed(trainer.ranks, "add", "sum over ranks")
    timed(trainer.optimizer, "step", "Adam")
    trainer.run(lambda line: None, progress=False)
    words = ", ".join(f"{part} {np.median(times[5:]):.1f}" for part, times in spent.items())
    print(f"{cell} {backend}, rank {trainer.ranks.rank} of {trainer.ranks.size}: {words} ms", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1 or any(name in os.environ for name in SIZES):
        measure(*(sys.argv[1:] or ["RNN"])[:1], *(sys.argv[2:] or ["numpy"])[:1])
    else:
        mpiexec = str(Path(sys.executable).with_name("mpiexec"))
        for cell in ("RNN", "LSTM"):
            for ranks in ("1", "2"):
                subprocess.run([mpiexec, "-n", ranks, sys.executable, __file__, cell, "numpy"], check=True)
