"""Does "healthy at initialisation" foretell what is learned? `python benchmarks/prediction.py [results.json]`.

Recall of the first of T symbols, for 4 lengths, 8 cells and 3 seeds, of three tasks; judged by the thresholds that
`diagnose` has, and by those for the length of the training. What was trained is kept in the file, so that a changed
judgement takes seconds to compare.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.flow import Thresholds


class Task(NamedTuple):
    """Recall of the first of some symbols."""

    lengths: tuple[int, ...]
    seeds: range
    symbols: int
    hidden: int
    batch: int
    updates: int


TASKS = {
    "first": Task((10, 20, 40, 80), range(3), 4, 32, 32, 2000),
    "held out": Task((7, 14, 28, 56), range(10, 13), 8, 24, 32, 2000),
    "held out, wider": Task((8, 16, 32, 64), range(20, 23), 4, 64, 16, 1500),
}
"""The second and third were made after the criterion."""

LEARNED = 0.9
"""A share of right answers, of a fresh batch of 500, above which the task counts as learned."""


def plain(task: Task, rng: np.random.Generator, make: Any = None, **options: Any) -> Any:
    net = tg.nn.RNN(task.symbols, task.hidden, rng=rng, **options)
    if make is not None:
        net.weight_hh_l0.data[...] = make((task.hidden, task.hidden), rng)
        net.bias_hh_l0.data[...] = net.bias_ih_l0.data[...] = 0.0
    return net


def gated(kind: Any, task: Task, rng: np.random.Generator, bias: float | None = None) -> Any:
    net = kind(task.symbols, task.hidden, rng=rng)
    if bias is not None:
        net.bias_ih_l0.data[task.hidden : 2 * task.hidden] = bias
    return net


orthogonal = tg.nn.init.orthogonal
CELLS: dict[str, Any] = {
    "RNN": plain,
    "RNN, orthogonal": partial(plain, make=orthogonal),
    "RNN, 0.5 orthogonal": partial(plain, make=lambda shape, rng: orthogonal(shape, rng, 0.5)),
    "RNN, relu, identity": partial(plain, make=lambda shape, _: np.eye(*shape), nonlinearity="relu"),
    "LSTM": partial(gated, tg.nn.LSTM),
    "LSTM, forget +3": partial(gated, tg.nn.LSTM, bias=3.0),
    "GRU": partial(gated, tg.nn.GRU),
    "GRU, update +3": partial(gated, tg.nn.GRU, bias=3.0),
}


class Model(tg.nn.Module):
    """A layer, and a reading of its last state."""

    def __init__(self, task: Task, cell: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.net, self.head = CELLS[cell](task, rng), tg.nn.Linear(task.hidden, task.symbols, rng=rng)

    def forward(self, x: Any) -> tg.Tensor:
        return self.head(self.net(x)[0][-1])


def batches(task: Task, T: int, n: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    while True:
        symbols = rng.integers(task.symbols, size=(T, n))
        yield np.eye(task.symbols)[symbols], symbols[0]


def right(model: Model, task: Task, T: int) -> float:
    x, y = next(batches(task, T, 500, 10_000))
    with tg.no_grad():
        return float((np.argmax(model(x).data, -1) == y).mean())


def trained(task: Task, cell: str, T: int, seed: int) -> dict[str, Any]:
    """The share of right answers at the end, and after how many updates it was learned."""
    model = Model(task, cell, seed)
    optimiser = tg.optim.Adam(model.parameters(), lr=3e-3)
    step = tg.compile(lambda model, x, y: tg.softmax_cross_entropy(model(x), y))
    for update, (x, y) in zip(range(task.updates), batches(task, T, task.batch, seed + 1), strict=False):
        _, gradients = step(model, x, y)
        for name, p in model.named_parameters():
            p.grad = gradients[name]
        tg.optim.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if update % 100 == 99 and right(model, task, T) > LEARNED:
            return {"right": right(model, task, T), "updates": update + 1}
    return {"right": right(model, task, T), "updates": None}


def in_reach(task: Task, cell: str, T: int, seed: int, thresholds: Thresholds) -> bool:
    """Whether nothing stands against learning: healthy, or too short to tell and so in reach at all its lags."""
    model = Model(task, cell, seed)
    x, y = next(batches(task, T, task.batch, 20_000 + seed))
    found = tg.diagnose(tg.softmax_cross_entropy(model(x), y), thresholds=thresholds)
    return found.verdict in ("healthy", "too short to tell")


def main(path: Path) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, task in TASKS.items():
        criteria = (Thresholds(), Thresholds.for_training(task.batch * task.updates, task.hidden))
        agree, missed = [0, 0], [0, 0]
        for T, cell in product(task.lengths, CELLS):
            keys = [f"{name} / {cell} / {T} / {seed}" for seed in task.seeds]
            for seed, key in zip(task.seeds, keys, strict=True):
                if key not in known:
                    known[key] = trained(task, cell, T, seed)
                    path.write_text(json.dumps(known, indent=1))
            learned = sum(known[key]["right"] > LEARNED for key in keys)
            said = [sum(in_reach(task, cell, T, seed, each) for seed in task.seeds) for each in criteria]
            for i, count in enumerate(said):
                agree[i] += (count >= 2) == (learned >= 2)
                missed[i] += count < 2 <= learned
            words = ", ".join(f"{n} at {each.low:.2%}" for n, each in zip(said, criteria, strict=True))
            print(f"T = {T:2} {cell:20} {learned} of {len(keys)} learn; in reach {words}", flush=True)
        for each, n, m in zip(criteria, agree, missed, strict=True):
            of = len(task.lengths) * len(CELLS)
            print(f"{name}: at {each.low:.2%} {n} of {of} foretold; out of reach and learned all the same: {m}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "prediction.json"))
