"""Rounds of training, drawing, diagnosing and compiling, and their memory: `python benchmarks/soak.py MINUTES`.

A growth that goes on with the rounds is a leak; the first tenth of the rounds fills caches and is not counted.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import viz
from tinygrad_rnn.app import tasks


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


def resident() -> float:
    """MB of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main(minutes: float) -> None:
    end = time.monotonic() + 60 * minutes
    seen: list[float] = []
    blocks: list[int] = []  # of memory that Python's objects hold
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            one_round(len(seen), Path(folder))
            seen.append(resident())
            blocks.append(sys.getallocatedblocks())
    settled = np.array(seen[len(seen) // 10 :])
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] * 1000
    print(f"{len(seen)} rounds in {minutes:g} minutes: {settled[0]:.1f} MB after a tenth, {settled[-1]:.1f} at the end")
    more = (blocks[-1] - blocks[-len(settled)]) / len(settled) * 100
    print(f"growth {settled[-1] - settled[0]:+.1f} MB; {slope:+.2f} MB in 1,000 rounds; {more:+.0f} blocks in 100")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
