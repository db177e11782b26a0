"""Threads on the same tensors: each sees its own context, and nothing that they share is lost between two of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from together import together

import tinygrad_rnn as tg
from tinygrad_rnn.core import arguments, seal
from tinygrad_rnn.core.context import Context, current
from tinygrad_rnn.core.turn import Turn


def test_one_block_object_in_two_threads_gives_each_its_own_context_back() -> None:
    block, first_is_in, second_is_in, first_is_out = tg.no_grad(), *(threading.Event() for _ in range(3))

    def first() -> str:
        with tg.scope("first"):
            with block:
                first_is_in.set()
                second_is_in.wait(20)
            scope = current.get().scope
            first_is_out.set()
            return scope

    def second() -> str:
        with tg.scope("second"):
            first_is_in.wait(20)
            with block:
                second_is_in.set()
                first_is_out.wait(20)
            return current.get().scope

    assert together(first, second) == ["first", "second"]


def test_a_block_that_ends_within_another_leaves_nothing_behind() -> None:
    def standing() -> Iterator[int]:
        with tg.no_grad():
            yield 0

    outer, inner = tg.no_grad(), tg.no_grad()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__()
    inner.__exit__()
    assert current.get() == Context()
    generator = standing()
    next(generator)
    with tg.scope("a"):
        generator.close()  # type: ignore[attr-defined]
    assert current.get() == Context()


def test_two_threads_that_ask_for_a_leafs_array_get_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two arrays only one would be watched, and what is written through the other never noticed."""
    weak = seal.ref

    def slow(array: np.ndarray) -> Any:
        time.sleep(0.05)
        return weak(array)

    monkeypatch.setattr(seal, "ref", slow)
    w = tg.Tensor(np.ones(3), requires_grad=True)
    one, other = together(lambda: w.data, lambda: w.data)
    assert one is other
    loss = (w * w).sum()
    one[0] = 5.0
    with pytest.raises(tg.GraphError, match="changed"):
        loss.backward()


class Slow(np.ndarray):
    def __add__(self, other: Any) -> Any:
        time.sleep(0.05)
        return np.asarray(self) + other


def test_no_gradient_is_lost_where_two_threads_add_to_one_weight() -> None:
    w = tg.Tensor(np.ones(3), requires_grad=True)
    losses = [(k * w).sum() for k in (1.0, 2.0)]
    w.grad = np.zeros(3).view(Slow)
    together(*[loss.backward for loss in losses])
    np.testing.assert_array_equal(w.grad, np.full(3, 3.0))


def test_arguments_are_compared_also_while_another_thread_reads_the_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(x: Any, axis: int = 0) -> Any:
        return x

    kinds, certain, others = arguments.Kinds("scaled", scaled), arguments._certain, []

    def meanwhile(hint: Any) -> Any:
        monkeypatch.setattr(arguments, "_certain", certain)
        for axis in (1, "a"):
            others.extend(together(lambda axis=axis: kinds.compare((np.ones(2), axis), {})))  # type: ignore[misc]
        return certain(hint)

    monkeypatch.setattr(arguments, "_certain", meanwhile)
    kinds.compare((np.ones(2), 1), {})
    assert others[0] is None
    assert isinstance(others[1], tg.DTypeError)


def test_a_turn_is_free_in_a_fork_and_again_for_who_has_it() -> None:
    turn, taken, done = Turn(), threading.Event(), threading.Event()

    def hold() -> None:
        with turn:
            taken.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(20)
    held, turn._process = turn._lock, -1  # as in a fork, where the holder does not live on
    with turn, turn:
        assert turn._lock is not held
        mine, turn._process = turn._lock, -1  # as in a fork of the thread that holds it
        with turn:
            assert turn._lock is mine
    turn._lock = held
    done.set()
    holder.join()
