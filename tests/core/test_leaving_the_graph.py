"""A tensor that wants a gradient becomes a Python number only where the line says so."""

from __future__ import annotations

import math
from functools import partial
from math import exp, sqrt

import numpy as np
import pytest

import tinygrad_rnn as tg


def test_a_float_for_the_log() -> None:
    loss = tg.Tensor(2.0, requires_grad=True) * 2.0
    assert float(loss) == 4.0
    assert [float(each) for each in (loss, loss)] == [4.0, 4.0]
    assert f"{loss:.1f} {loss.item()}" == "4.0 4.0"
    assert f"{loss:.1f}" == "4.0"
    assert math.isfinite(loss)
    assert not math.isnan(loss)
    assert math.floor(loss) == 4
    assert math.sqrt(loss.item()) == math.sqrt(float(loss)) == 2.0
    assert math.hypot(3.0, *[float(loss)]) == 5.0
    assert math.isclose(loss, 4.1, rel_tol=0.1)
    to_float = float
    assert to_float(loss) == 4.0


def test_a_line_that_runs_often() -> None:
    """Python rewrites the instructions of such lines; some then call elsewhere."""
    t, total = tg.Tensor(4.0, requires_grad=True), 0.0

    def same(t: tg.Tensor, *other: object) -> tg.Tensor:
        return t

    for _ in range(500):
        total += float(t) + float(same(same(t, 1), 2, 3))
        with pytest.raises(tg.GraphError):
            sqrt(t)
        with pytest.raises(tg.GraphError):
            math.exp(same(t, 1))
    assert total == 4000.0


def test_what_calls_it_unseen_is_refused() -> None:
    """A function that is handed on may be `float` or `math.sqrt`: nothing on the line tells."""
    t = tg.Tensor(4.0, requires_grad=True)
    for convert in (float, math.sqrt):
        with pytest.raises(tg.GraphError, match=r"float: t \(\) requires a gradient .* write t.item\(\)"):
            list(map(convert, [t]))
        with pytest.raises(tg.GraphError, match="requires a gradient"):
            convert(*[t])
        with pytest.raises(tg.GraphError, match="requires a gradient"):
            partial(convert)(t)
    with pytest.raises(tg.GraphError, match="requires a gradient"):
        sorted([t], key=math.sqrt)
    with pytest.raises(tg.GraphError, match="requires a gradient"):
        "%.1f" % t  # noqa: UP031


def test_the_module_math_would_leave_the_graph() -> None:
    t = tg.Tensor(4.0, requires_grad=True)
    with pytest.raises(tg.GraphError, match=r"math.sqrt: t \(\) requires a gradient .* write np.sqrt"):
        math.sqrt(t)
    with pytest.raises(tg.GraphError, match=r"math\.exp"):
        exp(t * 2.0 + t)
    with pytest.raises(tg.GraphError, match=r"math\.pow"):
        1.0 + math.pow(2.0, t) * sqrt(4.0)
    root = sqrt
    with pytest.raises(tg.GraphError, match=r"math\.sqrt"):
        root(t)


def test_what_wants_no_gradient_is_a_number_like_any_other() -> None:
    t = tg.Tensor(4.0, requires_grad=True)
    assert math.sqrt(t.detach()) == 2.0
    assert math.sqrt(tg.Tensor(np.array(4.0))) == 2.0
    with tg.no_grad():
        assert math.sqrt(t) == 2.0
