"""Random recurrent programs: cells of random operations, delays, layers, directions and losses."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_rnn as tg


class RandomProgram:
    """A loss function drawn from a seed, with its parameters and a batch that fit it.

    Every draw happens in the constructor; calling it twice does the same operations.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.steps = int(rng.choice([1, 2, 3, 4, 5, 7, 12]))
        self.batch, self.inputs, self.hidden = (int(n) for n in rng.integers(1, 5, 3))
        self.vector = bool(rng.random() < 0.15)  # no batch axis: x_t is a vector
        self.layers = [self._layer(rng, i) for i in range(int(rng.integers(1, 4)))]
        self.loss = str(rng.choice(["sum", "last", "stack", "list", "classes", "masked", "some"]))
        self.state_grad = bool(rng.random() < 0.3)
        self.truncate = int(rng.choice([0, 0, 0, 2, 3]))
        self.params: dict[str, Any] = {}
        width = self.inputs
        for i, layer in enumerate(self.layers):
            self.params[f"layer{i}"] = {
                name: rng.standard_normal(shape) / 2 for name, shape in self._shapes(layer, width).items()
            }
            if self.state_grad:
                shape = (self.hidden,) if self.vector else (self.batch, self.hidden)
                self.params[f"layer{i}"]["h_0"] = rng.standard_normal(shape)
            width = self.hidden * (2 if layer["both"] else 1)
        self.params["out"] = {"W": rng.standard_normal((width, 3)), "b": rng.standard_normal(3)}
        lead = (self.steps,) if self.vector else (self.steps, self.batch)
        self.xs = rng.standard_normal((*lead, self.inputs))
        self.targets = rng.integers(0, 3, lead)
        self.mask = rng.random((*lead, 1)) < 0.7

    def _layer(self, rng: np.random.Generator, i: int) -> dict[str, Any]:
        return {
            "cell": str(
                rng.choice(["rnn", "gated", "lstm", "residual", "multiplicative", "norm", "peephole", "random"])
            ),
            "delay": int(rng.choice([1, 1, 1, 2, 3])),
            "both": bool(rng.random() < 0.2),
            "reverse": bool(rng.random() < 0.2),
            "scope": bool(rng.random() < 0.5),
            "ops": [int(k) for k in rng.integers(0, 10, 5)],
        }

    def _shapes(self, layer: dict[str, Any], width: int) -> dict[str, tuple[int, ...]]:
        h = self.hidden
        gates = 4 if layer["cell"] in ("lstm", "peephole") else 3 if layer["cell"] == "gated" else 1
        return {"W": (width, gates * h), "R": (h, gates * h), "b": (gates * h,), "p": (h,)}

    def __call__(self, params: Any, xs: Any, targets: Any, mask: Any) -> Any:
        sequence: Any = xs
        for i, layer in enumerate(self.layers):
            p = params[f"layer{i}"]
            if layer["scope"]:
                with tg.scope(f"layer{i}"):
                    sequence = self._run(layer, p, sequence)
            else:
                sequence = self._run(layer, p, sequence)
        return self._score(params["out"], sequence, targets, mask)

    def _run(self, layer: dict[str, Any], p: Any, sequence: Any) -> list[Any]:
        there = self._direction(layer, p, sequence, layer["reverse"])
        if not layer["both"]:
            return there
        back = self._direction(layer, p, sequence, not layer["reverse"])
        return [np.concatenate([a, b], axis=-1) for a, b in zip(there, back, strict=True)]

    def _direction(self, layer: dict[str, Any], p: Any, sequence: Any, reverse: bool) -> list[Any]:
        shape = (self.hidden,) if self.vector else (self.batch, self.hidden)
        start = p["h_0"] if "h_0" in p else np.zeros(shape)
        history = [(start if isinstance(start, tg.Tensor) else tg.Tensor(start), np.zeros(shape))] * layer["delay"]
        found: list[Any] = []
        for n, (_, x) in enumerate(tg.steps(sequence, reverse=reverse)):
            h, c = history[0]
            if self.truncate and n % self.truncate == 0 and n:
                h = h.detach()
            h, c = self._cell(layer, p, x, h, c)
            history = [*history[1:], (h, c)]
            found.append(h)
        return found[::-1] if reverse else found

    def _cell(self, layer: dict[str, Any], p: Any, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        n, cell = self.hidden, layer["cell"]
        if cell == "rnn":
            return np.tanh(x @ p["W"] + h @ p["R"] + p["b"]), c
        if cell == "gated":
            a = x @ p["W"] + p["b"]
            b = h @ p["R"]
            z = tg.sigmoid(a[..., :n] + b[..., :n])
            r = tg.sigmoid(a[..., n : 2 * n] + b[..., n : 2 * n])
            new = np.tanh(a[..., 2 * n :] + r * b[..., 2 * n :])
            return (1 - z) * new + z * h, c
        if cell in ("lstm", "peephole"):
            a = x @ p["W"] + h @ p["R"] + p["b"]
            look = c * p["p"] if cell == "peephole" else 0.0
            i, f, o = (tg.sigmoid(a[..., k * n : (k + 1) * n] + look) for k in range(3))
            c = f * c + i * np.tanh(a[..., 3 * n :])
            return o * np.tanh(c), c
        if cell == "residual":
            return h + np.tanh(x @ p["W"] + h @ p["R"]) * p["p"], c
        if cell == "multiplicative":
            return np.tanh((x @ p["W"]) * (h @ p["R"]) * p["p"] + p["b"]), c
        if cell == "norm":
            a = x @ p["W"] + h @ p["R"]
            a = a - a.mean(axis=-1, keepdims=True)
            return np.tanh(a / np.sqrt((a * a).mean(axis=-1, keepdims=True) + 0.1) * p["p"] + p["b"]), c
        return self._random_cell(layer["ops"], p, x, h), c

    def _random_cell(self, ops: list[int], p: Any, x: Any, h: Any) -> Any:
        a, b = x @ p["W"], h @ p["R"]
        for op in ops:
            a, b = [
                lambda a, b: (np.tanh(a), b + p["b"]),
                lambda a, b: (a + b, b),
                lambda a, b: (a * tg.sigmoid(b), a),
                lambda a, b: (np.sqrt(a * a + 1.0), b),
                lambda a, b: (b - a / (1.5 + np.tanh(b)), a),
                lambda a, b: (np.exp(-(a * a)), b),
                lambda a, b: (np.maximum(a, b), b * 0.5),
                lambda a, b: (np.where(a > 0.2, a, b), tg.relu(b)),
                lambda a, b: (a.sum(axis=-1, keepdims=True) * b, a),
                lambda a, b: (a, np.concatenate([b, a], axis=-1)[..., 1 : 1 + self.hidden]),
            ][op](a, b)
        return np.tanh(a + b)

    def _score(self, out: Any, sequence: list[Any], targets: Any, mask: Any) -> Any:
        if self.loss == "last":
            return tg.softmax_cross_entropy(sequence[-1] @ out["W"] + out["b"], targets[len(sequence) - 1])
        if self.loss == "stack":
            y = np.stack(sequence) @ out["W"] + out["b"]
            return tg.softmax_cross_entropy(y, targets)
        total = 0.0
        losses = []
        for t, h in tg.steps(sequence):
            y = h @ out["W"] + out["b"]
            if self.loss == "classes":
                part = tg.softmax_cross_entropy(y, targets[t], reduction="sum")
            elif self.loss == "masked":
                part = np.where(mask[t], y * y, 0.0).sum()
            else:
                part = (y * y).mean()
            if self.loss == "some" and t % 2:
                continue
            losses.append(part)
            total = total + part
        return np.stack(losses).mean() if self.loss == "list" else total


def largest_difference(seed: int, dtype: Any = np.float64) -> float:
    """The largest difference between compiled and eager, relative to the largest gradient, over two batches."""
    program = RandomProgram(seed)

    def cast(x: Any) -> Any:
        return {k: cast(v) for k, v in x.items()} if isinstance(x, dict) else x.astype(dtype)

    def tensors(x: Any) -> Any:
        return {k: tensors(v) for k, v in x.items()} if isinstance(x, dict) else tg.Tensor(x, requires_grad=True)

    step = tg.compile(program)
    worst = 0.0
    params, xs = cast(program.params), program.xs.astype(dtype)
    for round_number in range(2):
        loss, grads = step(params, xs, program.targets, program.mask)
        given = tensors(params)
        eager = program(given, tg.Tensor(xs), tg.Tensor(program.targets), tg.Tensor(program.mask))
        eager.backward()
        worst = max(worst, abs(loss - eager.item()) / max(1.0, abs(eager.item())))
        for layer, weights in given.items():
            for name, weight in weights.items():
                expected = np.zeros_like(weight.data) if weight.grad is None else weight.grad
                found = grads[layer][name]
                assert found.dtype == expected.dtype
                assert found.shape == expected.shape
                scale = max(1.0, float(np.abs(expected).max()))
                worst = max(worst, float(np.abs(found - expected).max()) / scale)
        rng = np.random.default_rng(round_number)
        params = {
            k: {n: w + rng.standard_normal(w.shape).astype(dtype) / 8 for n, w in v.items()} for k, v in params.items()
        }
        xs = rng.standard_normal(xs.shape).astype(dtype)
    return worst
