"""Threads that claim the parts of a batch."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.native import call, machine
from tinygrad_rnn.compiler.native.pool import Pool


@pytest.mark.parametrize(("parts", "threads"), [(1, 1), (1, 4), (7, 1), (7, 3), (2, 8)])
def test_every_part_runs_once(parts: int, threads: int) -> None:
    found: Counter[int] = Counter()
    Pool().run(lambda part: found.update([part]), parts, threads)
    assert found == Counter(range(parts))


def test_helpers_help() -> None:
    meeting = threading.Barrier(3)  # nobody passes before three have come
    Pool().run(lambda part: meeting.wait(20) and None, 3, 3)


def test_an_error_of_a_part_arrives_when_the_others_are_done() -> None:
    pool, found = Pool(), []

    def part(i: int) -> None:
        if i == 1:
            raise ValueError("part 1")
        found.append(i)

    with pytest.raises(ValueError, match="part 1"):
        pool.run(part, 5, 2)
    assert sorted(found) == [0, 2, 3, 4]
    pool.run(found.append, 1, 2)  # the helpers live on


def test_many_callers_at_once() -> None:
    pool = Pool()
    totals: list[int] = []

    def caller() -> None:
        found: list[int] = []
        for _ in range(50):
            pool.run(found.append, 4, 3)
        totals.append(len(found))

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [200] * 4


def test_a_pool_that_forgets_begins_anew() -> None:
    pool, found = Pool(), Counter[int]()
    pool.run(lambda part: found.update([part]), 4, 3)
    pool.forget()
    pool.run(lambda part: found.update([part]), 4, 3)
    assert found == Counter(dict.fromkeys(range(4), 2))


@pytest.mark.skipif(machine.missing() is not None, reason="needs native code")
def test_what_helpers_read_lives_until_they_are_done_though_the_caller_was_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Any] = []

    class Interrupted:
        def run(self, part: Any, parts: int, threads: int) -> None:
            begun.append(part)
            raise KeyboardInterrupt

    def loss_fn(W: Any, xs: Any) -> Any:
        h = np.zeros((8, 3))
        for _, x in tg.steps(xs):
            h = np.tanh(x + h @ W)
        return h.sum()

    monkeypatch.setattr(call, "WORTH_SHARING", 0)
    monkeypatch.setattr(call, "allowed", lambda: 2)
    monkeypatch.setattr(call, "POOL", Interrupted())
    weight, xs = np.ones((3, 3)), np.ones((5, 8, 3))
    step, known = tg.compile(loss_fn, backend="native"), weakref.ref(weight)
    for _ in range(3):
        try:
            step(weight, xs)
        except KeyboardInterrupt:
            continue
        raise AssertionError("there was no call of helpers, so that this tests nothing")
    del weight
    assert known() is not None
    begun.clear()
    assert known() is None
