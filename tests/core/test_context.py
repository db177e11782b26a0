"""`no_grad` and the like: used again, nested, as decorators, on generator functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core.context import Context, current

W = tg.Tensor([1.0, 2.0], requires_grad=True)


def records() -> bool:
    return (W * 2.0).requires_grad


def test_one_object_again_and_within_itself() -> None:
    off = tg.no_grad()
    for _ in range(2):
        with off:
            assert not records()
            with off:
                assert not records()
            assert not records()
        assert records()


def test_a_decorated_function_again_recursive_and_in_threads() -> None:
    @tg.no_grad()
    def count(n: int) -> int:
        assert not records()
        return n and 1 + count(n - 1)

    assert count(3) == count(3) == 3
    assert count.__name__ == "count"
    threads = [threading.Thread(target=count, args=(20,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records()


def test_a_generator_function_changes_its_body_only() -> None:
    ended = []

    @tg.no_grad()
    def numbers() -> Iterator[int]:
        try:
            for n in range(3):
                assert not records()
                got = yield n
                assert got in (None, "sent")
                assert not records()
        finally:
            ended.append(records())
        return "value"

    generator = numbers()
    assert next(generator) == 0
    assert records()
    assert generator.send("sent") == 1  # type: ignore[attr-defined]
    assert records()
    generator.close()  # type: ignore[attr-defined]
    assert ended == [False]
    assert records()
    assert list(numbers()) == [0, 1, 2]
    generator = numbers()
    next(generator)
    with pytest.raises(KeyError):
        generator.throw(KeyError)  # type: ignore[attr-defined]
    assert ended == [False] * 3
    assert current.get() == Context()


def test_a_generator_keeps_its_own_step_and_gives_its_caller_none() -> None:
    @tg.no_grad()
    def states() -> Iterator[tg.Tensor]:
        for t, x in tg.steps(np.ones((3, 2))):
            yield x * 1.0
            assert (x * 1.0).step == t

    for t, h in enumerate(states()):
        assert h.step == t
        assert (W * 2.0).step is None
    for (t, _), h in zip(tg.steps(np.ones((3, 2)), start=7), states(), strict=False):
        assert (W * 2.0).step == t
        assert h.step == t - 7


def test_an_asynchronous_function_records_nothing_while_it_runs() -> None:
    @tg.no_grad()
    async def inside() -> bool:
        await asyncio.sleep(0)
        return records()

    async def outside() -> tuple[bool, bool]:
        return await inside(), records()

    assert asyncio.run(outside()) == (False, True)


def test_an_asynchronous_generator_is_refused() -> None:
    with pytest.raises(tg.InputError, match=r"numbers is an asynchronous generator"):

        @tg.no_grad()
        async def numbers() -> AsyncIterator[int]:
            yield 1
