"""Bugs planted where functions are traced, programs kept and calls compared: each makes a right scenario fail."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from fuzz import judge
from test_lengths import arguments, at_the_thirtieth, check, cut_every_twenty, every_step, of_a_long_one

import tinygrad_rnn as tg
from tinygrad_rnn.compiler import agreement, family, general, program, randomness
from tinygrad_rnn.compiler.containers import flatten
from tinygrad_rnn.compiler.general import General
from tinygrad_rnn.core.tensor import Tensor


def lengths(loss_fn: Callable[..., Any]) -> None:
    step = tg.compile(loss_fn)
    for T, B in ((8, 2), (13, 2), (50, 2), (9, 3), (61, 5), (3, 2), (50, 2)):
        check(step, loss_fn, T, B)


def of_a_short_one(p: Any, xs: Any) -> Any:
    return every_step(p, xs) * (np.sum(xs[3]) if len(xs) > 3 else 1.0)


def random_numbers() -> None:
    source = (
        "import numpy as np\nimport tinygrad_rnn as tg\nI = 3\nMODULES = {}\n"
        "def params(rng):\n    return {'W': rng.standard_normal((3, 3)), 'unused': np.ones(2)}\n"
        "def loss_fn(p, xs, ids, mask, rng):\n    return (tg.dropout(xs @ p['W'], 0.5, rng) ** 2).mean()\n"
    )
    outcome = judge(source, ((5, 30), (3, 9)))
    assert outcome.kind == "right", outcome


def what_changes_between_calls() -> None:
    scale = array("d", [1.0])  # at which the compiler does not look
    step = tg.compile(lambda p, xs: every_step(p, xs) * scale[0])
    step(*arguments(5, 2))
    scale[0] = 2.0
    for _ in range(2):
        with pytest.raises(tg.GraphError):
            step(*arguments(5, 2))


def what_changes_between_lengths() -> None:
    scale = array("d", [1.0])  # at which the compiler does not look
    step = tg.compile(lambda p, xs: every_step(p, xs) * scale[0])
    losses = [step(*arguments(T, 2))[0] for T in (8, 13)]
    scale[0] = 2.0
    losses.append(step(*arguments(13, 2))[0])  # no new length, which would be compared for its own sake
    assert losses[2] == pytest.approx(2 * losses[1])


def a_draw() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(tg.GraphError, match="random numbers were drawn"):
        tg.compile(lambda p, xs: every_step(p, xs * rng.random()))(*arguments(5, 2))


def a_value() -> None:
    with pytest.raises(tg.GraphError, match="same in every call"):
        tg.compile(lambda p, xs: every_step(p, xs) * xs.data.max())(*arguments(5, 2))


def dtypes_and_settings() -> None:
    step = tg.compile(lambda p, x, power: (p * x).sum() ** power)
    for dtype in (np.float64, np.float32):
        for power in (1, 2, 1.0):
            loss, gradient = step(np.ones(3, dtype), np.ones(3, dtype), power)
            assert (loss, gradient.dtype) == (3**power, dtype)


step_module = sys.modules["tinygrad_rnn.compiler.step"]


def without_settings(x: Any, leaves: Any, *path: Any) -> Any:
    return "number" if isinstance(x, (int, float)) else flatten(x, leaves, *path)


def without_dtypes(x: Any, leaves: Any, *path: Any) -> Any:
    return flatten(x.astype(np.float64) if isinstance(x, np.ndarray) else x, leaves, *path)


@contextmanager
def nothing(*_: Any, **__: Any) -> Iterator[None]:
    yield


def any_sizes(self: General, shapes: Any) -> Any:
    return general.sizes_of(self.pattern, shapes)


def first_sizes(pattern: Any, shapes: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for wanted, shape in zip(pattern, shapes, strict=True):
        for axis, n in zip(wanted, shape, strict=True):
            if isinstance(axis, str):
                found.setdefault(axis, n)
    return dict(sorted(found.items(), reverse=True))


BUGS: dict[str, tuple[Any, str, Any, Callable[[], None]]] = {
    "records are not compared": (General, "is_proven", lambda *_: True, lambda: lengths(at_the_thirtieth)),
    "steps are not looked at": (family, "by_steps", lambda *_: "", lambda: lengths(cut_every_twenty)),
    "values are not looked at": (family, "by_steps", lambda *_: "", lambda: lengths(of_a_long_one)),
    "shorter than the shortest": (General, "sizes", any_sizes, lambda: lengths(of_a_short_one)),
    "axes that do not fit": (general, "sizes_of", first_sizes, lambda: lengths(every_step)),
    "calls are not compared": (family, "by_gradients", lambda *_: "", what_changes_between_calls),
    "lengths are not compared": (family, "by_gradients", lambda *_: "", what_changes_between_lengths),
    "generators are not wound back": (agreement, "rewound", nothing, random_numbers),
    "masks are not drawn again": (program.Program, "_draw", lambda *_: None, random_numbers),
    "draws are not noticed": (randomness.Watch, "check", lambda _: None, a_draw),
    "values may be read": (Tensor, "_refuse_in_trace", lambda *_: None, a_value),
    "settings are all one": (step_module, "flatten", without_settings, dtypes_and_settings),
    "dtypes are all one": (step_module, "flatten", without_dtypes, dtypes_and_settings),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, planted, scenario = BUGS[bug]
    scenario()
    monkeypatch.setattr(where, name, planted)
    with pytest.raises((AssertionError, pytest.fail.Exception, tg.TensorError, ValueError, IndexError)):
        scenario()
