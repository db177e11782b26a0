"""A graph dies with its last reference: training needs no cyclic collector, and grows by nothing."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def train(steps: int) -> list[int]:
    """The number of objects that the collector knows, after some steps and after all of them, with it off."""
    rng = np.random.default_rng(0)
    model = tg.nn.GRU(2, 3)
    optimiser = tg.optim.Adam(model.parameters())
    xs, W = rng.normal(size=(4, 2, 2)), tg.Tensor(rng.normal(size=(2, 2)), requires_grad=True)
    counts = []
    gc.collect()
    gc.disable()
    try:
        for step in range(steps):
            total: Any = 0.0
            for _, x in tg.steps(xs):
                total = total + (np.tanh(x @ W) ** 2).sum()
            loss = (model(xs)[0] ** 2).mean() + total
            for p in (*optimiser.parameters, W):
                p.grad = None
            loss.backward()
            tg.optim.clip_grad_norm_(optimiser.parameters, 1.0)
            optimiser.step()
            (g,) = tg.grad(loss, [W], create_graph=True)
            W.data -= 1e-3 * g.data
            if step in (20, steps - 1):
                counts.append(len(gc.get_objects()))
    finally:
        gc.enable()
    return counts


def test_a_training_loop_makes_no_cycles() -> None:
    first, last = train(100)
    assert last - first < 50


@pytest.mark.slow
def test_ten_thousand_training_steps_grow_by_nothing() -> None:
    first, last = train(10_000)
    assert last - first < 50


def test_an_array_that_was_handed_out_keeps_no_graph() -> None:
    w = tg.Tensor([1.0], requires_grad=True)
    loss = (w * w).sum()
    inner = weakref.ref(loss.inputs[0])
    held = [loss.data, w.data]
    gc.disable()
    try:
        del loss
        assert inner() is None
        assert len(held) == 2
    finally:
        gc.enable()
