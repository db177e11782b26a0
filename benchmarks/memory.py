"""Does "healthy at the start" foretell that a network learns to remember?

A recall task: the first of T inputs shows one of four symbols, the others are noise, and the answer at the end is the
symbol. Eight ways to begin a cell, four lengths, three seeds; a network has learned if two of three seeds answer 95 %
of new sequences rightly within the updates. Prints a line for each and how often the verdict was right.

    python benchmarks/memory.py [--updates 500] [--lengths 20 40 80 160]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import tinygrad_rnn as tg

SYMBOLS, HIDDEN, BATCH = 4, 24, 32


def orthogonal(scale: float) -> Callable[[tg.nn.Recurrent], None]:
    def begin(net: tg.nn.Recurrent) -> None:
        net.weight_hh_l0.data[...] = scale * tg.nn.init.orthogonal((HIDDEN, HIDDEN), 0)

    return begin


def identity(net: tg.nn.Recurrent) -> None:
    net.weight_hh_l0.data[...] = np.eye(HIDDEN)
    net.bias_ih_l0.data[...] = net.bias_hh_l0.data[...] = 0.0


def keep(net: tg.nn.Recurrent) -> None:
    """Open the gate that keeps the state: f of an LSTM, z of a GRU."""
    net.bias_ih_l0.data[HIDDEN : 2 * HIDDEN] = 3.0


def as_it_is(net: tg.nn.Recurrent) -> None:
    """PyTorch's start."""


CELLS: dict[str, tuple[str, dict[str, str], Callable[[tg.nn.Recurrent], None]]] = {
    "tanh": ("RNN", {}, as_it_is),
    "tanh, 0.5 Q": ("RNN", {}, orthogonal(0.5)),
    "tanh, 1.0 Q": ("RNN", {}, orthogonal(1.0)),
    "relu, identity": ("RNN", {"nonlinearity": "relu"}, identity),
    "LSTM": ("LSTM", {}, as_it_is),
    "LSTM, f open": ("LSTM", {}, keep),
    "GRU": ("GRU", {}, as_it_is),
    "GRU, z open": ("GRU", {}, keep),
}


def batch(T: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(T, n, symbols + 1) inputs and (n,) answers; the last number of a step is noise."""
    answers = rng.integers(0, SYMBOLS, n)
    xs = np.zeros((T, n, SYMBOLS + 1))
    xs[0, np.arange(n), answers] = 1.0
    xs[:, :, SYMBOLS] = 0.3 * rng.normal(size=(T, n))
    return xs, answers


def run(cell: str, T: int, seed: int, updates: int) -> tuple[str, float, bool, int]:
    """The verdict at the start, what is left at the largest lag, whether it learned, and after how many updates."""
    kind, options, begin = CELLS[cell]
    rng = np.random.default_rng(seed)
    net = getattr(tg.nn, kind)(SYMBOLS + 1, HIDDEN, **options, rng=rng)
    head = tg.nn.Linear(HIDDEN, SYMBOLS, rng=rng)
    begin(net)
    optimizer = tg.optim.Adam([*net.parameters(), *head.parameters()], lr=5e-3)

    def loss_fn(model: list[tg.nn.Module], xs: tg.Tensor, answers: tg.Tensor) -> tg.Tensor:
        return tg.softmax_cross_entropy(model[1](model[0](xs)[0][-1]), answers)

    found = tg.diagnose(loss_fn([net, head], *batch(T, BATCH, rng)))
    verdict, left = found.verdict, found.layers[0].memory.left
    step = tg.compile(loss_fn)
    xs, answers = batch(T, 500, np.random.default_rng(10_000 + seed))
    for update in range(1, updates + 1):
        _, grads = step([net, head], *batch(T, BATCH, rng))
        for name, p in net.named_parameters():
            p.grad = grads[0][name]
        for name, p in head.named_parameters():
            p.grad = grads[1][name]
        tg.optim.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step()
        if update % 50 == 0:
            with tg.no_grad():
                guessed = head(net(xs)[0][-1]).data.argmax(-1)
            if np.mean(guessed == answers) >= 0.95:
                return verdict, left, True, update
    return verdict, left, False, updates


def main() -> None:
    parser = argparse.ArgumentParser(description="Does the verdict at the start foretell learning?")
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 40, 80, 160])
    options = parser.parse_args()
    outcomes: list[tuple[bool, list[int]]] = []  # healthy, and when each seed has learned (0: never)
    began = time.process_time()
    print(f"{'cell':<16}{'T':>5}  {'verdict at the start':<34}{'left':<9}{'learned':<9} updates")
    for cell in CELLS:
        for T in options.lengths:
            found = [run(cell, T, seed, options.updates) for seed in range(3)]
            healthy = sum(verdict == "healthy" for verdict, *_ in found) >= 2
            learned = sum(did for _, _, did, _ in found) >= 2
            outcomes.append((healthy, [n if did else 0 for _, _, did, n in found]))
            verdicts = ", ".join(verdict for verdict, *_ in found)
            mark = "" if healthy == learned else "  <- not foretold"
            left = np.median([left for _, left, _, _ in found])
            did = "yes" if learned else "no"
            print(f"{cell:<16}{T:>5}  {verdicts:<34}{left:<9.0e}{did:<9}", [n for *_, n in found], mark, flush=True)
    for within in (100, 150, 200, options.updates):
        right = sum(healthy == (sum(0 < n <= within for n in when) >= 2) for healthy, when in outcomes)
        print(f"foretold {right} of {len(outcomes)}, what is learned within {within} updates")
    print(f"{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
