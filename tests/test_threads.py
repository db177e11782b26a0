"""Several threads at once give what one gives, to the bit; also on a Python without a global lock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.latest import keep

THREADS = 6


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(work: Callable[[int], Any], tasks: int) -> None:
    """Compare what a task gives in one of several threads with what it gives alone."""
    alone = [work(task) for task in range(tasks)]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, [*range(tasks)] * 2))
    for one, other in zip(alone * 2, found, strict=True):
        np.testing.assert_equal(other, one)


def sequence(seed: int, T: int = 6) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(seed)
    return {"W": rng.normal(0, 0.5, (4, 4)), "U": rng.normal(0, 0.5, (3, 4))}, rng.normal(size=(T, 2, 3))


def loss_of(p: Any, xs: Any) -> Any:
    h, loss = np.zeros((xs.shape[1], 4)), 0.0
    for _, x in tg.steps(xs):
        h = np.tanh(x @ p["U"] + h @ p["W"])
        loss = loss + (h * h).mean()
    return loss


def test_graphs_and_what_is_asked_of_them() -> None:
    def work(seed: int) -> Any:
        arrays, xs = sequence(seed)
        p = {name: tg.Tensor(array, requires_grad=True) for name, array in arrays.items()}
        loss = loss_of(p, xs)
        loss.backward()
        with tg.no_grad():
            outside = loss_of(p, xs).requires_grad
        flow = tg.gradient_flow(loss_of(p, xs))
        second = tg.grad(tg.grad(loss_of(p, xs), [p["W"]], create_graph=True)[0].sum(), [p["U"]])[0]
        return p["W"].grad, outside, flow.per_step(p["W"]), second.data, str(flow), tg.viz.unrolled(flow).svg()

    together(work, 8)


def test_one_graph_is_differentiated_and_drawn() -> None:
    arrays, xs = sequence(0)
    p = {name: tg.Tensor(array, requires_grad=True) for name, array in arrays.items()}
    loss = loss_of(p, xs)
    flow = tg.gradient_flow(loss)
    together(lambda _: (tg.grad(loss, [p["W"]])[0].data, str(tg.diagnose(loss)), tg.viz.unrolled(flow).svg()), 6)


def test_one_compiled_function_at_sizes_of_all_kinds() -> None:
    lengths = [*range(2, 26)] * 2
    given = [sequence(seed, T) for seed, T in enumerate(lengths)]
    alone, step = tg.compile(loss_of), tg.compile(loss_of)
    expected = [alone(*arguments) for arguments in given]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda arguments: step(*arguments), given))
    for (loss, grads), (own, own_grads) in zip(found, expected, strict=True):
        np.testing.assert_allclose(loss, own, rtol=1e-12)
        for name, array in own_grads.items():
            np.testing.assert_allclose(grads[name], array, rtol=1e-10, atol=1e-14)


def test_a_model_is_trained_in_each() -> None:
    def work(seed: int) -> Any:
        model = tg.nn.LSTM(2, 3, rng=seed)
        xs = np.random.default_rng(seed).normal(size=(5, 8, 2))
        trainer = tg.train.Trainer(model, lambda model, x: (model(x)[0] ** 2).mean(), (xs,), steps=4, eval_every=2)
        trainer.run(lambda line: None, progress=False)
        return [parameter.data for parameter in model.parameters()]

    together(work, 6)


def test_the_latest_entries_are_kept() -> None:
    cache: dict[int, int] = {}
    for key in (1, 2, 3, 1, 4):
        keep(cache, key, -key, 3)
    assert cache == {3: -3, 1: -1, 4: -4}
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda key: keep(cache, key % 7, key, 3), range(3000)))
    assert len(cache) <= 3
