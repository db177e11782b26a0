"""Batches of many lengths: one compiled program against eager. `python benchmarks/ragged.py --batches 400`

Prints the number of programs, the growth of memory, and the time in total, first calls included.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np

import tinygrad_rnn as tg


def resident() -> float:
    """The memory in use now, in MB, where the system tells; else the most that ever was."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--shortest", type=int, default=40)
    parser.add_argument("--longest", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layer", default="LSTM")
    parser.add_argument(
        "--eager", type=int, default=40, help="batches to run eagerly; the total is extrapolated by steps"
    )
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    lengths = rng.integers(args.shortest, args.longest + 1, args.batches)
    different = len(set(lengths.tolist()))
    model = getattr(tg.nn, args.layer)(args.inputs, args.hidden, rng=0)

    def loss_fn(model: Any, xs: Any, targets: Any) -> Any:
        hs, _ = model(xs)
        return ((hs - targets) ** 2).mean()

    def batch(T: int) -> tuple[Any, Any]:
        return (rng.standard_normal((T, args.batch, args.inputs)), rng.standard_normal((T, args.batch, args.hidden)))

    step, before, start, first = tg.compile(loss_fn), resident(), time.perf_counter(), 0.0
    for T in lengths:
        step(model, *batch(int(T)))
        first = first or time.perf_counter() - start
    seconds, growth = time.perf_counter() - start, resident() - before
    print(f"{args.layer}, {args.batches} batches, {different} lengths from {min(lengths)} to {max(lengths)}")
    print(
        f"compiled: {len(step.programs)} programs, {growth:.0f} MB, {seconds:.1f} s in total, first call {first:.2f} s"
    )
    start = time.perf_counter()
    for T in lengths[: args.eager]:
        model.zero_grad()
        loss_fn(model, *map(tg.Tensor, batch(int(T)))).backward()
    share = lengths[: args.eager].sum() / lengths.sum()
    print(f"eager: {(time.perf_counter() - start) / share:.1f} s in total (from {args.eager} batches)")


if __name__ == "__main__":
    main()
