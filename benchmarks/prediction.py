"""Does "healthy at initialisation" foretell what is learned? `python benchmarks/prediction.py [results.json]`.

Recall of the first of T symbols, for 4 lengths, 8 cells and 3 seeds. What was trained is kept in the file, so that a
changed judgement takes seconds to compare.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tg

LENGTHS = (10, 20, 40, 80)
SEEDS = range(3)
SYMBOLS, HIDDEN, BATCH, UPDATES = 4, 32, 32, 2000
LOWS = (0.01, (BATCH * UPDATES) ** -0.5, 0.001)
"""What has to be left of the gradient to count as in reach: the default of `diagnose`; what noise leaves of a mean over
all sequences that will be seen, 1 / sqrt(n); and less than that."""

LEARNED = 0.9
"""A share of right answers, of a fresh batch of 500, above which the task counts as learned."""


def plain(rng: np.random.Generator, make: Any = None, **options: Any) -> Any:
    net = tg.nn.RNN(SYMBOLS, HIDDEN, rng=rng, **options)
    if make is not None:
        net.weight_hh_l0.data[...] = make(rng)
        net.bias_hh_l0.data[...] = net.bias_ih_l0.data[...] = 0.0
    return net


def gated(kind: Any, rng: np.random.Generator, bias: float | None = None) -> Any:
    net = kind(SYMBOLS, HIDDEN, rng=rng)
    if bias is not None:
        net.bias_ih_l0.data[HIDDEN : 2 * HIDDEN] = bias
    return net


CELLS: dict[str, Any] = {
    "RNN": plain,
    "RNN, orthogonal": lambda rng: plain(rng, lambda rng: tg.nn.init.orthogonal((HIDDEN, HIDDEN), rng)),
    "RNN, 0.5 orthogonal": lambda rng: plain(rng, lambda rng: tg.nn.init.orthogonal((HIDDEN, HIDDEN), rng, 0.5)),
    "RNN, relu, identity": lambda rng: plain(rng, lambda rng: np.eye(HIDDEN), nonlinearity="relu"),
    "LSTM": lambda rng: gated(tg.nn.LSTM, rng),
    "LSTM, forget +3": lambda rng: gated(tg.nn.LSTM, rng, 3.0),
    "GRU": lambda rng: gated(tg.nn.GRU, rng),
    "GRU, update +3": lambda rng: gated(tg.nn.GRU, rng, 3.0),
}


class Model(tg.nn.Module):
    """A layer, and a reading of its last state."""

    def __init__(self, cell: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.net, self.head = CELLS[cell](rng), tg.nn.Linear(HIDDEN, SYMBOLS, rng=rng)

    def forward(self, x: Any) -> tg.Tensor:
        return self.head(self.net(x)[0][-1])


def batches(T: int, n: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    while True:
        symbols = rng.integers(SYMBOLS, size=(T, n))
        yield np.eye(SYMBOLS)[symbols], symbols[0]


def right(model: Model, T: int) -> float:
    x, y = next(batches(T, 500, 10_000))
    with tg.no_grad():
        return float((np.argmax(model(x).data, -1) == y).mean())


def trained(cell: str, T: int, seed: int) -> dict[str, Any]:
    """The share of right answers at the end, and after how many updates it was learned."""
    model = Model(cell, seed)
    optimiser = tg.optim.Adam(model.parameters(), lr=3e-3)
    step = tg.compile(lambda model, x, y: tg.softmax_cross_entropy(model(x), y))
    for update, (x, y) in zip(range(UPDATES), batches(T, BATCH, seed + 1), strict=False):
        _, gradients = step(model, x, y)
        for name, p in model.named_parameters():
            p.grad = gradients[name]
        tg.optim.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if update % 100 == 99 and right(model, T) > LEARNED:
            return {"right": right(model, T), "updates": update + 1}
    return {"right": right(model, T), "updates": None}


def in_reach(cell: str, T: int, seed: int, low: float) -> bool:
    """Whether nothing stands against learning: healthy, or too short to tell and so in reach at all its lags."""
    model = Model(cell, seed)
    x, y = next(batches(T, BATCH, 20_000 + seed))
    found = tg.diagnose(tg.softmax_cross_entropy(model(x), y), thresholds=tg.flow.Thresholds(low=low))
    return found.verdict in ("healthy", "too short to tell")


def main(path: Path) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    agree = dict.fromkeys(LOWS, 0)
    for T in LENGTHS:
        for cell in CELLS:
            keys = [f"{cell} / {T} / {seed}" for seed in SEEDS]
            for seed, key in zip(SEEDS, keys, strict=True):
                if key not in known:
                    known[key] = trained(cell, T, seed)
                    path.write_text(json.dumps(known, indent=1))
            learned = sum(known[key]["right"] > LEARNED for key in keys)
            said = {low: sum(in_reach(cell, T, seed, low) for seed in SEEDS) for low in LOWS}
            for low, count in said.items():
                agree[low] += (count >= 2) == (learned >= 2)
            words = ", ".join(f"{count} at {low:.2%}" for low, count in said.items())
            print(f"T = {T:2} {cell:20} {learned} of {len(SEEDS)} learn; in reach {words}", flush=True)
    for low, count in agree.items():
        print(f"in reach at {low:.2%}: {count} of {len(LENGTHS) * len(CELLS)} foretold")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "prediction.json"))
