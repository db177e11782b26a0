"""What the engine costs: tiny operations, the RNN loop, long sequences and checkpoints, beside its peers.

    python benchmarks/engine.py [ops] [loop] [length] [memory]

One thread; the contestants take turns, and each keeps its best time, so that noise of the machine
falls on all. Peers that are not installed are left out (`pip install -e ".[bench]"`).
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import tinygrad_rnn as tg

Run = Callable[[], Any]


def take_turns(contestants: dict[str, Run], rounds: int = 15, seconds: float = 0.02) -> dict[str, float]:
    """The best time of each in seconds, all measured in every round."""
    best = dict.fromkeys(contestants, float("inf"))
    repeat = {}
    for name, run in contestants.items():
        run()
        start = time.perf_counter()
        run()
        repeat[name] = max(1, int(seconds / max(time.perf_counter() - start, 1e-7)))
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            for _ in range(repeat[name]):
                run()
            best[name] = min(best[name], (time.perf_counter() - start) / repeat[name])
    return best


def processor() -> str:
    """The name of this machine's processor."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"  ({name} is not installed)")
        return None


def show(title: str, best: dict[str, float], scale: float = 1e6, unit: str = "us") -> None:
    ours = best["tinygrad_rnn"]
    others = "   ".join(
        f"{name} {t * scale:9.2f} {unit} (ratio {ours / t:.2f})" for name, t in best.items() if name != "tinygrad_rnn"
    )
    print(f"  {title:27} tinygrad_rnn {ours * scale:9.2f} {unit}   {others}")


# ---------------------------------------------------------------------- tiny operations
def tiny_operations() -> None:
    print("forward and backward of one operation on tiny arrays (float32); the target is a ratio of 1.0 or less")
    torch = peer("torch")
    rng = np.random.default_rng(0)
    small, square = ((2, 3), (2, 3)), ((16, 16), (16, 16))
    table = [("add", small), ("multiply", small), ("tanh", small[:1]), ("matmul 16x16", square)]
    for title, shapes in table:
        name = title.split()[0]
        arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        contestants = {"tinygrad_rnn": ours_once(getattr(np, name), arrays)}
        if torch is not None:
            contestants["PyTorch"] = torchs_once(torch, getattr(torch, name), arrays)
        show(title, take_turns(contestants))


def ours_once(fn: Callable[..., Any], arrays: list[np.ndarray]) -> Run:
    leaves = [tg.Tensor(x, requires_grad=True) for x in arrays]
    seed = np.ones(fn(*arrays).shape, np.float32)

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        fn(*leaves).backward(seed)

    return run


def torchs_once(torch: Any, fn: Callable[..., Any], arrays: list[np.ndarray]) -> Run:
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    seed = torch.ones_like(fn(*leaves))

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        fn(*leaves).backward(seed)

    return run


# ---------------------------------------------------------------------- the RNN loop
def weights(I: int, H: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [(rng.normal(size=s) / H**0.5).astype(np.float32) for s in ((I, H), (H, H), (H,))]


def ours_loop(xs: np.ndarray, parameters: list[np.ndarray]) -> Run:
    W, R, b = leaves = [tg.Tensor(p, requires_grad=True) for p in parameters]
    start = np.zeros((xs.shape[1], len(parameters[2])), xs.dtype)

    def run() -> list[np.ndarray | None]:
        h: Any = start
        for _, x in tg.steps(xs):
            h = np.tanh(x @ W + h @ R + b)
        for leaf in leaves:
            leaf.grad = None
        (h * h).mean().backward()
        return [leaf.grad for leaf in leaves]

    return run


def torchs_loop(torch: Any, xs: np.ndarray, parameters: list[np.ndarray]) -> Run:
    W, R, b = leaves = [torch.tensor(p, requires_grad=True) for p in parameters]
    sequence, start = torch.tensor(xs), torch.zeros(xs.shape[1], len(parameters[2]))

    def run() -> list[np.ndarray]:
        h = start
        for x in sequence:
            h = torch.tanh(x @ W + h @ R + b)
        for leaf in leaves:
            leaf.grad = None
        (h * h).mean().backward()
        return [leaf.grad.numpy() for leaf in leaves]

    return run


def autograds_loop(autograd: Any, xs: np.ndarray, parameters: list[np.ndarray]) -> Run:
    anp = importlib.import_module("autograd.numpy")
    start = np.zeros((xs.shape[1], len(parameters[2])), xs.dtype)

    def loss(leaves: Any) -> Any:
        W, R, b = leaves
        h = start
        for x in xs:
            h = anp.tanh(anp.dot(x, W) + anp.dot(h, R) + b)
        return anp.mean(h * h)

    gradient = autograd.grad(loss)
    return lambda: gradient(parameters)


def mygrads_loop(mygrad: Any, xs: np.ndarray, parameters: list[np.ndarray]) -> Run:
    W, R, b = leaves = [mygrad.tensor(p) for p in parameters]
    start = np.zeros((xs.shape[1], len(parameters[2])), xs.dtype)

    def run() -> list[np.ndarray]:
        h = start
        for x in xs:
            h = mygrad.tanh(mygrad.matmul(x, W) + mygrad.matmul(h, R) + b)
        (h * h).mean().backward()
        return [leaf.grad for leaf in leaves]

    return run


def numpys_loop(xs: np.ndarray, parameters: list[np.ndarray]) -> Run:
    """The same arrays by the same calls of NumPy, written by hand: what is left when a graph costs nothing.

    Every intermediate value is kept, as a graph keeps them to be drawn; the products for W and R are joined over
    12 steps, as the engine joins them.
    """
    W, R, b = parameters
    start = np.zeros((xs.shape[1], len(b)), xs.dtype)

    def run() -> list[np.ndarray]:
        hs, kept = [start], []
        for x in xs:
            u, v = np.dot(x, W), np.dot(hs[-1], R)
            s = u + v
            z = s + b
            kept.append((u, v, s, z))
            hs.append(np.tanh(z))
        dh = hs[-1] * (2 / hs[-1].size)
        RT, dzs = np.ascontiguousarray(R.T), [start] * len(xs)
        for t in reversed(range(len(xs))):
            dzs[t] = dh * (1 - hs[t + 1] * hs[t + 1])
            dh = np.dot(dzs[t], RT)
        dW, dR, db = np.zeros_like(W), np.zeros_like(R), np.zeros_like(b)
        for first in range(0, len(xs), 12):
            dz = np.concatenate(dzs[first : first + 12])
            dW += np.dot(np.concatenate(xs[first : first + 12]).T, dz)
            dR += np.dot(np.concatenate(hs[first : min(first + 12, len(xs))]).T, dz)
            db += dz.sum(axis=0)
        return [dW, dR, db]

    return run


def rnn_loop() -> None:
    print(f"\nan RNN, forward and backward (float32), one thread of {processor()}; the goal is 0.80 or less of PyTorch")
    loops = {"PyTorch": ("torch", torchs_loop), "autograd": ("autograd", autograds_loop)}
    loops["MyGrad"] = ("mygrad", mygrads_loop)
    for T, B, I, H in ((25, 1, 65, 100), (100, 8, 16, 32), (100, 32, 64, 128)):
        rng = np.random.default_rng(0)
        xs, parameters = rng.normal(size=(T, B, I)).astype(np.float32), weights(I, H, rng)
        contestants = {"tinygrad_rnn": ours_loop(xs, parameters), "NumPy by hand": numpys_loop(xs, parameters)}
        for name, (module, make) in loops.items():
            if (found := peer(module)) is not None:
                contestants[name] = make(found, xs, parameters)
        reference = contestants["tinygrad_rnn"]()
        for name, run in contestants.items():
            for ours, theirs in zip(reference, run(), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6, err_msg=name)
        show(f"T, B, I, H = {T},{B},{I},{H}", take_turns(contestants), 1e3, "ms")


# ---------------------------------------------------------------------- long sequences
def once(T: int, B: int, H: int, wanted: bool) -> float:
    """Seconds for forward, backward and deletion of T steps; `wanted`: the sequence wants its gradient."""
    rng = np.random.default_rng(0)
    W, R, b = (tg.Tensor(p, requires_grad=True) for p in weights(H, H, rng))
    xs = tg.Tensor(rng.normal(size=(T, B, H)).astype(np.float32), requires_grad=wanted)
    start = time.perf_counter()
    h: Any = np.zeros((B, H), np.float32)
    for _, x in tg.steps(xs):
        h = np.tanh(x @ W + h @ R + b)
    (h * h).mean().backward()
    del h, x
    return time.perf_counter() - start


def long_sequences() -> None:
    """A graph has no cycles, but Python's collector walks it again and again while it grows: shown without, too."""
    print("\ntime of forward, backward and deletion against the number of steps")
    for B, H in ((2, 8), (8, 32)):
        for wanted in (False, True):
            best = {T: float("inf") for T in (1_000, 10_000)}
            for _ in range(5):  # in turns, so that a noisy moment of the machine falls on both
                best = {T: min(t, once(T, B, H, wanted)) for T, t in best.items()}
            ratio = best[10_000] / best[1_000]
            best[100_000] = once(100_000, B, H, wanted)
            each = ", ".join(f"T = {T:,}: {t:.3f} s ({t / T * 1e6:.0f} us a step)" for T, t in best.items())
            print(f"  B, H = {B}, {H}, {'xs wants its gradient' if wanted else 'xs is data'}: {each}")
            print(f"    T = 10,000 over T = 1,000: {ratio:.1f}, between 8 and 13 is linear")
    gc.disable()
    try:
        each = ", ".join(f"T = {T:,}: {once(T, 8, 32, False) / T * 1e6:.0f} us a step" for T in (1_000, 100_000))
    finally:
        gc.enable()
    print(f"  B, H = 8, 32, without the collector: {each}")


# ---------------------------------------------------------------------- memory
def sequence_gradients(T: int, B: int, H: int, checkpointed: bool) -> tuple[list[np.ndarray | None], float, float]:
    """Gradients, peak memory in MB beyond the data, and seconds (of a run of its own, untraced)."""
    rng = np.random.default_rng(0)
    parameters = weights(H, H, rng)
    xs = rng.normal(size=(T, B, H)).astype(np.float32)

    def run() -> list[np.ndarray | None]:
        W, R, b = leaves = [tg.Tensor(p, requires_grad=True) for p in parameters]

        def cell(x: Any, h: Any) -> Any:
            return np.tanh(x @ W + h @ R + b)

        h: Any = tg.Tensor(np.zeros((B, H), np.float32))
        if checkpointed:
            h = tg.checkpoint_steps(cell, h, xs)
        else:
            for _, x in tg.steps(xs):
                h = cell(x, h)
        (h * h).mean().backward()
        return [leaf.grad for leaf in leaves]

    gc.collect()
    start = time.perf_counter()
    gradients = run()
    seconds = time.perf_counter() - start
    gc.collect()
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return gradients, peak, seconds


def memory() -> None:
    T, B, H = 20_000, 16, 64
    print(f"\nmemory of T = {T:,}, B = {B}, H = {H} in float32: the whole graph against checkpoint_steps")
    full, full_peak, full_time = sequence_gradients(T, B, H, checkpointed=False)
    short, short_peak, short_time = sequence_gradients(T, B, H, checkpointed=True)
    for a, c in zip(full, short, strict=True):
        assert a is not None
        assert c is not None
        np.testing.assert_allclose(a, c, rtol=1e-3, atol=1e-4 * float(np.abs(a).max()))
    print(
        f"  peak {full_peak:.0f} MB against {short_peak:.1f} MB: ratio {full_peak / short_peak:.0f} (target 20 or more)"
    )
    print(
        f"  time {full_time:.2f} s against {short_time:.2f} s: ratio {short_time / full_time:.2f} (target 1.6 or less)"
    )


PARTS: dict[str, Callable[[], None]] = {
    "ops": tiny_operations,
    "loop": rnn_loop,
    "length": long_sequences,
    "memory": memory,
}


def main(wanted: list[str]) -> None:
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    with threadpool_limits(1):
        if importlib.util.find_spec("torch"):
            importlib.import_module("torch").set_num_threads(1)
        for name in wanted or PARTS:
            PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
