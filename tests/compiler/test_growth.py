"""Compiling again and again: what a program needed goes when the program goes."""

from __future__ import annotations

import gc
import linecache

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.native import machine


def compile_anew(backend: str) -> None:
    def loss(W: tg.Tensor) -> tg.Tensor:
        h = tg.zeros((2, 3))
        for _, x in tg.steps(np.ones((6, 2, 3))):
            h = np.tanh(x @ W + h @ W)
        return (h * h).sum()

    step = tg.compile(loss, backend=backend)
    for scale in (0.1, 0.2, 0.3):
        step(np.full((3, 3), scale))


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_programs_that_nobody_has_any_more_leave_nothing_behind(backend: str) -> None:
    if backend == "native" and machine.missing():
        pytest.skip(machine.missing())
    compile_anew(backend)
    gc.collect()
    objects, lines = len(gc.get_objects()), len(linecache.cache)
    for _ in range(8):
        compile_anew(backend)
    gc.collect()
    assert len(linecache.cache) <= lines
    assert len(gc.get_objects()) - objects < 8
