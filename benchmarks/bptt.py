"""What forward and backward through time cost: ours, by hand, and the peers; the same equations in each.

    python benchmarks/bptt.py [--cells rnn lstm gru] [--threads 1 2] [--sizes N ...] [--only NAME ...]
                              [--slow] [--curves] [--memory] [--out FOLDER]

All contestants of a size take turns in one process (one process for each number of threads), so that
the machine's noise falls on all; the table gives the median time, each one's ratio to ours with its
quartiles, and the time against what the matrix products alone would take at the machine's measured
rate. Every contestant's loss and gradients are checked against ours before it is timed. `--slow` adds
`torch.compile` and the unrolled JAX program at every size (minutes of compilation). `--curves` plots
cost against T and H with the fitted exponents and compile time against T; `--memory` measures the
peak in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SIZES = [
    (25, 1, 65, 100),
    (100, 32, 64, 128),
    (64, 64, 128, 256),
    (200, 16, 32, 64),
    (1000, 8, 16, 32),
    (50, 64, 256, 512),
]
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
_TURN = 0.005  # seconds
Run = Callable[[], Any]


# ---------------------------------------------------------------------- the problem
def problem(cell: str, T: int, B: int, I: int, H: int) -> tuple[dict[str, Any], Any, Any]:
    """Weights, inputs (T, B, I) and targets (T, B, H), float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    G = GATES[cell]
    shapes = {"W": (I, G * H), "R": (H, G * H), "b": (G * H,), **({"b_hn": (H,)} if cell == "gru" else {})}
    params = {k: (rng.standard_normal(s) / math.sqrt(H)).astype(np.float32) for k, s in shapes.items()}
    return params, *(rng.standard_normal((T, B, n)).astype(np.float32) for n in (I, H))


def equations(cell: str, tanh: Any, sigmoid: Any) -> Callable[..., Any]:
    """One step of a cell, `(params, x, state) -> state`, for whatever arrays `tanh` and `sigmoid` take."""

    def rnn(p: Any, x: Any, state: Any) -> Any:
        return (tanh(x @ p["W"] + state[0] @ p["R"] + p["b"]),)

    def lstm(p: Any, x: Any, state: Any) -> Any:
        h, c = state
        n = h.shape[-1]
        a = x @ p["W"] + h @ p["R"] + p["b"]
        i, f, o = sigmoid(a[:, :n]), sigmoid(a[:, n : 2 * n]), sigmoid(a[:, 3 * n :])
        c = f * c + i * tanh(a[:, 2 * n : 3 * n])
        return o * tanh(c), c

    def gru(p: Any, x: Any, state: Any) -> Any:
        (h,) = state
        n = h.shape[-1]
        a, v = x @ p["W"] + p["b"], h @ p["R"]
        r, z = sigmoid(a[:, :n] + v[:, :n]), sigmoid(a[:, n : 2 * n] + v[:, n : 2 * n])
        new = tanh(a[:, 2 * n :] + r * (v[:, 2 * n :] + p["b_hn"]))
        return ((1 - z) * new + z * h,)

    return {"rnn": rnn, "lstm": lstm, "gru": gru}[cell]


# ---------------------------------------------------------------------- the contestants
def ours(cell: str, p: Any, xs: Any, ys: Any, compiled: bool, backend: Any = "auto") -> Run:
    import numpy as np

    import tinygrad_rnn as tg

    step = equations(cell, np.tanh, tg.sigmoid)

    def loss_fn(params: Any, xs: Any, ys: Any) -> Any:
        state = (np.zeros(ys.shape[1:], np.float32),) * (2 if cell == "lstm" else 1)
        loss = 0.0
        for t, x in tg.steps(xs):
            state = step(params, x, state)
            e = state[0] - ys[t]
            loss = loss + (e * e).sum()
        return loss / ys.size

    if compiled:
        program = tg.compile(loss_fn, backend=backend)
        return partial(program, p, xs, ys)

    def eager() -> Any:
        params = {k: tg.Tensor(v, requires_grad=True) for k, v in p.items()}
        loss = loss_fn(params, xs, ys)
        loss.backward()
        return loss.item(), {k: v.grad for k, v in params.items()}

    return eager


def by_hand(cell: str, p: Any, xs: Any, ys: Any) -> Run:
    from handwritten import HAND

    hand = HAND[cell](*xs.shape, ys.shape[-1], xs.dtype)
    return lambda: hand.step(p, xs, ys)


def hips(cell: str, p: Any, xs: Any, ys: Any) -> Run:
    import autograd
    import autograd.numpy as anp

    step = equations(cell, anp.tanh, lambda x: 0.5 * anp.tanh(0.5 * x) + 0.5)

    def loss_fn(params: Any) -> Any:
        state: Any = (anp.zeros(ys.shape[1:], anp.float32),) * (2 if cell == "lstm" else 1)
        loss = 0.0
        for x, y in zip(xs, ys, strict=True):
            state = step(params, x, state)
            loss = loss + anp.sum((state[0] - y) ** 2)
        return loss / ys.size

    return lambda: autograd.value_and_grad(loss_fn)(p)


def mygrad(cell: str, p: Any, xs: Any, ys: Any) -> Run:
    import mygrad as mg

    step = equations(cell, mg.tanh, mg.nnet.sigmoid)

    def run() -> Any:
        params = {k: mg.tensor(v) for k, v in p.items()}
        state: Any = (mg.zeros(ys.shape[1:], mg.tensor(xs).dtype),) * (2 if cell == "lstm" else 1)
        loss: Any = 0.0
        for x, y in zip(xs, ys, strict=True):
            state = step(params, x, state)
            loss = loss + ((state[0] - y) ** 2).sum()
        loss = loss / ys.size
        loss.backward()
        return loss.item(), {k: v.grad for k, v in params.items()}

    return run


def torch_eager(cell: str, p: Any, xs: Any, ys: Any, compiled: bool = False) -> Run:
    import torch

    step = equations(cell, torch.tanh, torch.sigmoid)
    params = {k: torch.tensor(v, requires_grad=True) for k, v in p.items()}
    X, Y = torch.tensor(xs), torch.tensor(ys)

    def loss_fn(params: Any, X: Any, Y: Any) -> Any:
        state: Any = (torch.zeros(Y.shape[1:]),) * (2 if cell == "lstm" else 1)
        loss: Any = 0.0
        for t in range(len(X)):
            state = step(params, X[t], state)
            loss = loss + ((state[0] - Y[t]) ** 2).sum()
        return loss / Y.numel()

    fast = torch.compile(loss_fn) if compiled else loss_fn

    def run() -> Any:
        for each in params.values():
            each.grad = None
        loss = fast(params, X, Y)
        loss.backward()
        return loss.item(), {k: v.grad.numpy() for k, v in params.items()}

    return run


def torch_nn(cell: str, p: Any, xs: Any, ys: Any) -> Run:
    """The layer that calls the library's own kernels; its second bias is only needed by the GRU."""
    import torch

    H = ys.shape[-1]
    layer = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](xs.shape[-1], H)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor(p["W"].T))
        layer.weight_hh_l0.copy_(torch.tensor(p["R"].T))
        layer.bias_ih_l0.copy_(torch.tensor(p["b"]))
        layer.bias_hh_l0.zero_()
        if cell == "gru":
            layer.bias_hh_l0[2 * H :] = torch.tensor(p["b_hn"])
    X, Y = torch.tensor(xs), torch.tensor(ys)

    def run() -> Any:
        layer.zero_grad()
        out, _ = layer(X)
        loss = ((out - Y) ** 2).mean()
        loss.backward()
        names = {"W": layer.weight_ih_l0.grad.T, "R": layer.weight_hh_l0.grad.T, "b": layer.bias_ih_l0.grad}
        if cell == "gru":
            names["b_hn"] = layer.bias_hh_l0.grad[2 * H :]
        return loss.item(), {k: v.numpy() for k, v in names.items()}

    return run


def jax_run(cell: str, p: Any, xs: Any, ys: Any, scan: bool) -> Run:
    import jax
    import jax.numpy as jnp

    step = equations(cell, jnp.tanh, jax.nn.sigmoid)

    def loss_fn(params: Any, xs: Any, ys: Any) -> Any:
        state: Any = (jnp.zeros(ys.shape[1:], jnp.float32),) * (2 if cell == "lstm" else 1)
        if scan:

            def body(state: Any, x: Any) -> Any:
                state = step(params, x, state)
                return state, state[0]

            _, hs = jax.lax.scan(body, state, xs)
            return jnp.mean((hs - ys) ** 2)
        loss: Any = 0.0
        for t in range(len(xs)):
            state = step(params, xs[t], state)
            loss = loss + jnp.sum((state[0] - ys[t]) ** 2)
        return loss / ys.size

    program = jax.jit(jax.value_and_grad(loss_fn))
    given = [jax.tree.map(jnp.asarray, x) for x in (p, xs, ys)]
    return lambda: jax.block_until_ready(program(*given))


def contestants(cell: str, size: tuple[int, ...], slow: bool) -> dict[str, Callable[..., Run]]:
    table: dict[str, Callable[..., Run]] = {
        "ours native": lambda *a: ours(*a, compiled=True, backend="native"),
        "ours numpy": lambda *a: ours(*a, compiled=True, backend="numpy"),
        "ours eager": lambda *a: ours(*a, compiled=False),
        "by hand": by_hand,
        "autograd": hips,
        "mygrad": mygrad,
        "torch eager": torch_eager,
        "torch.nn": torch_nn,
        "jax scan": lambda *a: jax_run(*a, scan=True),
    }
    if slow:
        table["torch.compile"] = lambda *a: torch_eager(*a, compiled=True)
    if slow or size[0] <= 25:
        table["jax unrolled"] = lambda *a: jax_run(*a, scan=False)
    return table


# ---------------------------------------------------------------------- measuring
def quartiles(values: list[float]) -> tuple[float, float, float]:
    import numpy as np

    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)


def measure(runs: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Times of each contestant; in every round each has its turn, the slow ones in fewer rounds.

    A turn is several calls if one is short, else it would mostly tell what the one before left in the caches.
    """
    once = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        once[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in runs}
    calls = {name: max(1, round(_TURN / cost)) for name, cost in once.items()}
    turn = {name: calls[name] * cost for name, cost in once.items()}
    rounds = min(max(int(seconds / min(turn.values())), 7), 60)
    every = {name: max(1, round(cost * rounds / (4 * seconds))) for name, cost in turn.items()}
    order = random.Random(0)
    for i in range(rounds):
        for name in order.sample(list(runs), len(runs)):  # nobody always comes after the one with spinning threads
            if i % every[name] == 0:
                start = time.perf_counter()
                for _ in range(calls[name]):
                    runs[name]()
                times[name].append((time.perf_counter() - start) / calls[name])
    return times


def flops(cell: str, T: int, B: int, I: int, H: int) -> float:
    """Of all matrix products: forward x W and h R, backward dz R^T and the gradients of W and R."""
    return 2.0 * T * B * GATES[cell] * H * (2 * I + 3 * H)


def product_rate() -> float:
    """The machine's best single-precision rate in floating-point operations per second."""
    import numpy as np

    a = np.random.default_rng(0).standard_normal((768, 768)).astype(np.float32)
    best = math.inf
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 768**3 / best


def agree(name: str, found: Any, expected: Any) -> None:
    import numpy as np

    assert abs(float(found[0]) - float(expected[0])) < 1e-4 * abs(float(expected[0])), name
    for key, value in expected[1].items():
        error = np.abs(np.asarray(found[1][key]) - value).max()
        assert error < 2e-3 * np.abs(value).max(), f"{name}: {key} differs by {error:.1e}"


def table(
    cells: list[str], sizes: list[tuple[int, ...]], only: list[str], slow: bool, seconds: float
) -> list[dict[str, Any]]:
    """Measure in this process; one record for each cell, size and contestant."""
    rate = product_rate()
    records = []
    for cell in cells:
        for size in sizes:
            data = problem(cell, *size)
            runs, first, compile_times = {}, None, {}
            for name, make in contestants(cell, size, slow).items():
                if only and name not in only and name != "ours native":
                    continue
                try:
                    run = make(cell, *data)
                    start = time.perf_counter()
                    found = run()
                    compile_times[name] = time.perf_counter() - start
                except ImportError as error:
                    print(f"  ({name}: {error})", file=sys.stderr)
                    continue
                first = found if first is None else first
                agree(name, found, first)
                runs[name] = run
            times = measure(runs, seconds)
            mine = quartiles(times["ours native"])[1]
            limit = flops(cell, *size) / rate
            for name, found in times.items():
                low, middle, high = quartiles(found)
                records.append(
                    {"cell": cell, "size": size, "name": name, "seconds": middle, "ratio": middle / mine,
                     "low": low / mine, "high": high / mine, "limit": limit / middle, "first": compile_times[name]}
                )  # fmt: skip
    return records


def show(records: list[dict[str, Any]], threads: int) -> None:
    print(f"\n{threads} thread{'s' * (threads > 1)}; forward + backward in ms, and time / ours native (quartiles)")
    by_name: dict[tuple[str, str], list[float]] = {}
    for cell in dict.fromkeys(r["cell"] for r in records):
        for size in dict.fromkeys(tuple(r["size"]) for r in records if r["cell"] == cell):
            print(f"\n{cell}  T, B, I, H = {size}")
            for r in (r for r in records if r["cell"] == cell and tuple(r["size"]) == size):
                print(
                    f"  {r['name']:14}{r['seconds'] * 1e3:10.3f} ms   x {r['ratio']:6.2f}"
                    f" ({r['low']:.2f} to {r['high']:.2f})   {r['limit'] * 100:4.0f} % of the product rate"
                    f"   first call {r['first']:.2f} s"
                )
                by_name.setdefault((cell, r["name"]), []).append(r["ratio"])
    print("\ngeometric mean and median over the sizes of time / ours native")
    for (cell, name), ratios in by_name.items():
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        middle = statistics.median(ratios)
        print(f"  {cell:5} {name:14} {mean:6.2f}   median {middle:6.2f}   least {min(ratios):6.2f}")


# ---------------------------------------------------------------------- curves and memory
def exponent(xs: list[float], ys: list[float]) -> float:
    import numpy as np

    return float(np.polyfit(np.log(xs), np.log(ys), 1)[0])


def curves(out: Path) -> None:
    """Cost against T and against H with the fitted exponents, and compile time against T."""
    import matplotlib.pyplot as plt
    import numpy as np

    def best(cell: str, *size: int) -> tuple[float, float]:
        run = ours(cell, *problem(cell, *size), compiled=True)
        start = time.perf_counter()
        run()
        first = time.perf_counter() - start
        run()
        times = []
        for _ in range(25):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times), first

    lengths, widths = [50, 100, 200, 400, 800], [64, 128, 256, 512, 1024]
    along_T = [best("rnn", T, 16, 64, 128) for T in lengths]
    along_H = [best("rnn", 20, 64, H, H)[0] for H in widths]
    panels = [
        ("T", lengths, [cost for cost, _ in along_T], "cost, B = 16, I = 64, H = 128"),
        ("H", widths, along_H, "cost, T = 20, B = 64, I = H"),
        ("T", lengths, [first for _, first in along_T], "compile time and first call"),
    ]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for axis, (name, xs, ys, title) in zip(axes, panels, strict=True):
        power = exponent(xs[-3:], ys[-3:])
        fit = np.exp(np.log(ys[-1]) + power * (np.log(xs) - np.log(xs[-1])))
        axis.loglog(xs, np.array(ys) * 1e3, "o", color="black")
        axis.loglog(xs, fit * 1e3, "-", color="0.6", label=f"{name}^{power:.2f}, fitted to the last three")
        axis.set(xlabel=name, ylabel="ms", title=title)
        axis.set_xticks(xs, [str(x) for x in xs], minor=False)
        axis.minorticks_off()
        axis.legend(frameon=False)
        print(
            f"  {title:32} {name}^{power:.2f}   "
            + "  ".join(f"{x}: {y * 1e3:.2f} ms" for x, y in zip(xs, ys, strict=True))
        )
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "bptt_curves.svg")
    print(f"  written to {out / 'bptt_curves.svg'}")


def peak(name: str, cell: str, size: tuple[int, ...]) -> float:
    """How many MB three calls add to the peak of this process."""
    data = problem(cell, *size)
    mine = {"ours numpy": "numpy", "ours native": "native"}
    make = {"torch.nn": torch_nn, "by hand": by_hand}.get(name) or (lambda *a: ours(*a, True, mine[name]))
    make(cell, *problem(cell, *(min(n, 4) for n in size)))()  # load libraries
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = make(cell, *data)
    for _ in range(3):
        run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def settings(threads: int) -> dict[str, str]:
    n = str(threads)
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, n), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def child(threads: int, *arguments: str) -> Any:
    """Run this file again with another number of threads; its last line is the answer as JSON.

    It gets as many processors as threads, as not every peer keeps to the settings.
    """
    command = [sys.executable, __file__, "--child", *arguments, "--threads", str(threads)]
    done = subprocess.run(command, env=settings(threads), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["rnn", "lstm", "gru"], choices=list(GATES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(range(len(SIZES))), help=f"positions in {SIZES}")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contestant and size")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--child", nargs="?", const="table", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = [SIZES[i] for i in given.sizes]
    warnings.simplefilter("ignore")
    if given.child and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-given.threads[0] :])
    if given.child == "table":
        print(json.dumps(table(given.cells, sizes, given.only, given.slow, given.seconds)))
    elif given.child:
        print(json.dumps(peak(given.child, given.cells[0], sizes[0])))
    elif given.curves:
        curves(given.out)
    elif given.memory:
        print("MB that three calls add to the peak of a fresh process")
        for cell in given.cells:
            for i, size in zip(given.sizes, sizes, strict=True):
                found = {
                    n: child(1, n, "--cells", cell, "--sizes", str(i))
                    for n in ("ours numpy", "ours native", "by hand", "torch.nn")
                }
                print(f"  {cell:5} {size!s:22} " + "   ".join(f"{n} {mb:7.1f}" for n, mb in found.items()))
    else:
        options = ["--seconds", str(given.seconds), *(["--slow"] if given.slow else [])]
        options += ["--cells", *given.cells, "--sizes", *map(str, given.sizes), "--only", *given.only]
        for threads in given.threads:
            show(child(threads, "table", *options), threads)


if __name__ == "__main__":
    main()
