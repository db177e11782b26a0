"""What surrounds the calculus holds no surprise: the step belongs to the loop body, and nothing is silently wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

XS = np.ones((4, 2))


def step_here() -> int | None:
    return tg.Tensor(1.0).step


def breaks(it: Any) -> None:
    for _ in it:
        break
    assert step_here() is None


def raises(it: Any) -> None:
    try:
        for _ in it:
            raise KeyError
    except KeyError:
        assert step_here() is None


def returns(it: Any) -> None:
    for t, _ in it:
        assert step_here() == t
        return


def asks_by_hand(it: Any) -> None:
    t, x = next(it)
    assert step_here() == t == x.step


@pytest.mark.parametrize("leave", [breaks, raises, returns, asks_by_hand])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_step_ends_with_the_loop_body_though_the_iterator_is_kept(
    leave: Callable[[Any], None], reverse: bool
) -> None:
    kept = []
    for _ in range(3):
        it = tg.steps(XS, reverse=reverse)
        kept.append(it)
        leave(it)
        assert step_here() is None
    assert len(list(kept[0])) == 3  # and it goes on where it was left
    kept.clear()
    del it
    assert step_here() is None


def test_a_loop_left_within_another_gives_the_outer_step_back() -> None:
    kept = []
    for t, _ in tg.steps(XS):
        inner = tg.steps(XS, start=10)
        kept.append(inner)
        for s, _ in inner:
            assert step_here() == s
            break
        assert step_here() == t
        for (s, _), _ in zip(tg.steps(XS, start=20), tg.steps(XS, start=20), strict=True):
            assert step_here() == s
            if s == 22:
                break
        assert step_here() == t
    assert step_here() is None


def test_a_generator_that_stands_still_does_not_tag_its_caller() -> None:
    def states() -> Iterator[int]:
        for t, _ in tg.steps(XS, start=5):
            assert step_here() == t
            yield t
            assert step_here() == t

    generator = states()
    assert next(generator) == 5
    assert step_here() is None
    assert next(generator) == 6
    for t, _ in tg.steps(XS):
        assert step_here() == t
        other = states()
        assert next(other) == 5
        assert step_here() == t
    assert step_here() is None
    assert list(states()) == [5, 6, 7, 8]
    assert step_here() is None
