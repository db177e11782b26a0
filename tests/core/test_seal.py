"""The seal: a changed leaf is noticed, an unchanged one is not suspected, and what nobody holds costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core import seal


def weight(*values: float) -> tg.Tensor:
    return tg.Tensor(values or (1.0, 2.0, 3.0), requires_grad=True)


def gradient(loss: tg.Tensor, w: tg.Tensor) -> Any:
    w.grad = None
    loss.backward()
    return w.grad


def refuses(loss: tg.Tensor) -> None:
    with pytest.raises(tg.GraphError, match=r"was changed after the forward pass used it.* tg\.truncate\(state\)"):
        loss.backward()


# ---------------------------------------------------------------------- no false alarm
def test_an_array_that_is_held_and_changed_between_two_graphs() -> None:
    w = weight()
    p = w.data
    old = (w * w).sum()
    p -= 0.5
    assert np.array_equal(gradient((w * w).sum(), w), [1.0, 3.0, 5.0])  # also while the old graph lives
    refuses(old)
    assert np.array_equal(gradient((w * w).sum(), w), [1.0, 3.0, 5.0])


def test_looking_is_not_changing() -> None:
    w = weight()
    loss = (w * w).sum()
    assert w.data.sum() == 6.0
    held = w.data[1:]
    assert np.array_equal(gradient(loss + (w * held.sum()).sum(), w), [7.0, 9.0, 11.0])


def test_a_change_that_is_taken_back_before_anybody_looks() -> None:
    w = weight()
    loss = (w * w).sum()
    w.data[0] += 10.0
    w.data[0] -= 10.0
    assert np.array_equal(gradient(loss, w), [2.0, 4.0, 6.0])


def test_what_is_detached_from_changed_data() -> None:
    xs, w = tg.Tensor([1.0, 2.0, 3.0]), weight()
    first = (xs * w).sum()
    xs.data[0] = 5.0
    v = xs.detach()
    assert np.array_equal(gradient((v * w).sum(), w), [5.0, 2.0, 3.0])
    refuses(first)
    xs.data[1] = 7.0
    assert np.array_equal(gradient((v * w).sum(), w), [5.0, 7.0, 3.0])


def test_an_optimiser_that_owns_the_flat_array() -> None:
    """As SciPy's do: the array that was assigned is theirs, and is written to while the graph waits for backward."""
    w = weight(0.0, 0.0, 0.0)
    flat = np.array([1.0, 2.0, 3.0])
    for _ in range(3):
        w.data = flat
        at, loss = flat.copy(), (w * w).sum()
        flat *= 0.5
        assert np.array_equal(gradient(loss, w), 2 * at)


def test_an_updated_weight_in_a_training_loop() -> None:
    w, expected = weight(), np.array([1.0, 2.0, 3.0])
    for _ in range(4):
        assert np.array_equal(gradient((w * w).sum(), w), 2 * expected)
        w.data -= 0.1 * w.grad
        expected -= 0.1 * (2 * expected)
    assert np.array_equal(w.data, expected)


@pytest.mark.parametrize("tensor", [False, True])
def test_a_buffer_that_is_filled_anew_while_it_is_read(tensor: bool) -> None:
    w, buffer = weight(), np.full((3, 3), 9.0)
    xs = tg.Tensor(buffer) if tensor else buffer
    written = xs.data if isinstance(xs, tg.Tensor) else xs
    total: Any = 0.0
    written[0] = 1.0
    for t, x in tg.steps(xs):
        total = total + (x * w).sum()
        written[t] = 0.0
        written[(t + 1) % 3] = t + 2.0
    assert np.array_equal(gradient(total, w), [6.0, 6.0, 6.0])


# ---------------------------------------------------------------------- no miss


# ---------------------------------------------------------------------- no miss
CHANGES: dict[str, Callable[[tg.Tensor], Any]] = {
    "an entry": lambda w: w.data.__setitem__(0, 5.0),
    "in place": lambda w: w.data.__iadd__(1.0),
    "an entry of a view": lambda w: w.data[1:].__setitem__(0, 5.0),
    "another array": lambda w: setattr(w, "data", np.zeros(3)),
    "a permutation": lambda w: w.data.__setitem__(slice(None), w.data[::-1].copy()),
    "through a detached tensor": lambda w: w.detach().data.__setitem__(0, 5.0),
    "an optimiser": lambda w: (setattr(w, "grad", np.ones(3)), tg.optim.SGD([w], lr=0.1).step()),
    "under no_grad": lambda w: tg.no_grad()(w.__isub__)(1.0),
    "through NumPy": lambda w: np.copyto(w.data, 0.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_leaf_is_refused(change: str) -> None:
    w = weight()
    loss = (w * w).sum()
    CHANGES[change](w)
    refuses(loss)
    refuses(loss)


def test_a_change_between_two_uses_that_is_taken_back() -> None:
    w = weight()
    p = w.data
    first = w * w
    p += 10.0
    second = w * w
    p -= 10.0
    refuses((first + second).sum())


def test_a_view_that_is_used_while_the_leaf_is_changed() -> None:
    w = weight()
    p = w.data
    y = w[::-1]
    p += 10.0
    loss = (y * y).sum()
    p -= 10.0
    refuses(loss)


def test_a_part_that_was_cut_out_without_a_gradient() -> None:
    xs, w = tg.Tensor(np.ones((2, 3))), weight()
    x = xs[0]
    loss = (x * w).sum()
    xs.data[0] = 5.0
    refuses(loss)


def test_an_array_that_an_operation_was_given() -> None:
    array, w = np.ones(3), weight()
    loss = (w * array).sum()
    array[0] = 5.0
    refuses(loss)


# ---------------------------------------------------------------------- no price
def test_what_nobody_holds_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lookup in a large embedding must not read all of it; nor may a training step read every weight."""
    E, W = tg.Tensor(np.ones((50, 4)), requires_grad=True), tg.Tensor(np.eye(4), requires_grad=True)
    xs = tg.Tensor(np.ones((5, 4)))
    optimiser = tg.optim.Adam([E, W])
    read: list[Any] = []
    monkeypatch.setattr(seal, "fingerprint", read.append)
    for _ in range(2):
        h = E[3]
        for _, x in tg.steps(xs):
            h = np.tanh((x + h) @ W)
        (h * h).sum().backward()
        optimiser.step()
    assert not read


def test_the_array_is_the_same_one_while_it_is_held() -> None:
    w = weight()
    p = w.data
    assert w.data is p
    w.data *= 2.0
    assert w.data is p
    assert np.array_equal(p, [2.0, 4.0, 6.0])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "i1", "i8", "u2", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (2, 3)])
def test_data_of_every_kind(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    data = tg.Tensor(array).data
    assert data.dtype == array.dtype
    assert data.shape == shape
    assert data.flags.writeable
    assert np.array_equal(data, array)


# ---------------------------------------------------------------------- random programs
def program(seed: int) -> tuple[int, int]:
    """Uses, reads, writes and backward passes at random; how many changes were missed, and how many suspected."""
    rng = np.random.default_rng(seed)
    leaves = [tg.Tensor(rng.normal(size=3), requires_grad=i == 0 or bool(rng.integers(2))) for i in range(3)]
    held: list[Any] = []
    graphs: list[tuple[tg.Tensor, list[tuple[tg.Tensor, Any]]]] = []
    missed = suspected = 0
    for _ in range(30):
        w, x = (leaves[i] for i in rng.integers(3, size=2))
        match rng.integers(9):
            case 0:
                held.append(w.data)
            case 1 if held:
                held.pop(int(rng.integers(len(held))))
            case 2 if held:
                held[int(rng.integers(len(held)))][rng.integers(3)] = rng.normal()
            case 3:
                w.data[rng.integers(3)] += rng.normal()
            case 4:
                array = rng.normal(size=3)
                w.data = array
                array[:] = 0.0
            case 5:
                with tg.no_grad():
                    w -= rng.normal()
            case 6 if graphs:
                loss, uses = graphs[int(rng.integers(len(graphs)))]
                changed = any(not np.array_equal(leaf._array, seen) for leaf, seen in uses)
                try:
                    loss.backward()
                except tg.GraphError:
                    suspected += not changed
                else:
                    missed += changed
            case _:
                x = x.detach() if rng.integers(2) else x
                y = (w * x).sum() + (w * w).sum()
                if y.requires_grad:
                    graphs.append((y, [(leaf, leaf._array.copy()) for leaf in (w, x)]))
    return missed, suspected


def test_random_programs_hold_no_miss_and_no_false_alarm() -> None:
    assert [program(seed) for seed in range(150)] == [(0, 0)] * 150
