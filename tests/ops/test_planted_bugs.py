"""Whether the proofs prove anything: bugs planted in every rule and in the engine must each be caught.

A gradient check that compares a thing with itself passes everything. So each rule of the table is made
wrong in four ways, and the very test that walks the table has to fail.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from calculus import CASES
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_ops import FAST, prove

import tinygrad_rnn as tg
from tinygrad_rnn.core import backprop as autodiff
from tinygrad_rnn.core import indexing as patch
from tinygrad_rnn.core.backprop import Arrays, Recorded, sweep
from tinygrad_rnn.core.context import current
from tinygrad_rnn.core.indexing import Patch
from tinygrad_rnn.core.primitive import Primitive, primitives
from tinygrad_rnn.core.products import ThroughWeight, ToWeight


def on_values(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply `change` to a message, to the value of a patch, or to what a product comes to."""

    def changed(message: Any) -> Any:
        if isinstance(message, Patch):
            return Patch(change(message.value), message.key, message.indices)
        return change(message.dense() if isinstance(message, (ToWeight, ThroughWeight)) else message)

    return changed


def transposed(message: Any) -> Any:
    square = message.ndim >= 2 and message.shape[-1] == message.shape[-2]
    return np.swapaxes(message, -1, -2) if square else message


BUGS: dict[str, Callable[[Any], Any]] = {
    "times 1.001": on_values(lambda m: m * 1.001),
    "sign flipped": on_values(lambda m: -m),
    "one accumulation dropped": lambda m: None,
    "transposed": on_values(transposed),
}


@contextmanager
def planted(primitive: Primitive, operand: int, bug: Callable[[Any], Any]) -> Iterator[None]:
    """Make the rule of one operand wrong."""
    vjps, variadic = primitive.vjps, primitive.variadic

    def wrong(*args: Any, **params: Any) -> Any:
        if variadic is None:
            rule = vjps[operand]
            assert rule is not None
            return bug(rule(*args, **params))
        sent = list(variadic(*args, **params))
        if operand < len(sent) and sent[operand] is not None:
            sent[operand] = bug(sent[operand])
        return sent

    try:
        if variadic is None:
            primitive.vjps = (*vjps[:operand], wrong, *vjps[operand + 1 :])
        else:
            primitive.variadic = wrong
        yield
    finally:
        primitive.vjps, primitive.variadic = vjps, variadic


SYMMETRIC = {"cholesky", "packed_eigh"}
"""Their gradients are symmetric matrices: transposed, they are the same."""

RULES = [
    (name, operand)
    for name, p in sorted(primitives.items())
    for operand in (range(len(p.vjps)) if p.variadic is None else range(3 if name == "scatter" else 1))
    if p.variadic is not None or p.vjps[operand] is not None
]


SYMMETRIC = {"cholesky", "packed_eigh"}
"""Their gradients are symmetric matrices, which transposing does not change."""


def is_caught(name: str) -> bool:
    @settings(FAST, phases=(Phase.generate,), report_multiple_bugs=False)
    @given(data=st.data())
    def test(data: Any) -> None:
        prove(name, data)

    try:
        test()
    except Exception:
        return True
    return False


def test_every_rule_is_among_those_to_spoil() -> None:
    assert {name for name, _ in RULES} == {name for name, p in primitives.items() if p.differentiable}
    assert {name for name, _ in RULES} <= set(CASES)


def test_every_planted_bug_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    escaped = []
    for name, operand in RULES:
        for bug, change in BUGS.items():
            if bug == "transposed" and name in SYMMETRIC:
                continue
            with planted(primitives[name], operand, change):
                if not is_caught(name) and not (bug == "transposed" and name in SYMMETRIC):
                    escaped.append(f"{name}, operand {operand}: {bug}")
    count = len(RULES) * len(BUGS) - len(SYMMETRIC)
    with capsys.disabled():
        print(f"\nplanted bugs caught: {count - len(escaped)} of {count}")
    assert not escaped, escaped


@pytest.mark.parametrize("name", ["tanh", "matmul", "multiply", "sum", "getitem"])
def test_a_bug_in_a_rule_of_every_kind_is_caught(name: str) -> None:
    for operand in [i for n, i in RULES if n == name]:
        for change in BUGS.values():
            with planted(primitives[name], operand, change):
                assert is_caught(name)
    assert not is_caught(name)


# ---------------------------------------------------------------------- bugs in the engine
def check_a_small_network() -> None:
    """A shared weight, a diamond, a broadcast bias, and every step read from one sequence."""

    def loss(xs: Any, W: Any, b: Any) -> Any:
        h: Any = np.zeros((2, 2))
        total: Any = 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x @ W + h @ W + b)
            total = total + (h * h).sum() + xs[0, 0, 0] * xs[0, 0, 0]
        return total

    rng = np.random.default_rng(0)
    assert tg.gradcheck(loss, [rng.normal(size=s) for s in ((3, 2, 2), (2, 2), (2,))], order=2)


def check_the_sweep() -> None:
    check_a_small_network()
    check_the_ends_of_a_sweep()


def check_the_ends_of_a_sweep() -> None:
    """Outputs named twice, gradients that are the caller's own, a changed leaf, the context, interior targets."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    gradient = np.ones(2)
    (total,) = tg.grad([y, y, y], [y], grad_output=[gradient] * 3)
    assert np.array_equal(total.data, [3.0, 3.0])
    before = current.get()
    (own,) = [g for _, g in autodiff.backprop([x + 0.0], [gradient])]
    assert not np.shares_memory(own, gradient)
    tg.grad([y, y[0]], [y], grad_output=[gradient, np.ones(())])
    assert np.array_equal(gradient, [1.0, 1.0])
    cube = x[0] ** 3
    with tg.no_grad():
        (slope,) = tg.grad(cube, [x], create_graph=True)
    assert np.array_equal([g.data for g in tg.grad(slope.sum(), [x])], [[6.0, 0.0]])
    assert np.array_equal([g.data for g in tg.grad(y.sum(), [x], create_graph=True)], [[2.0, 4.0]])
    assert current.get() is before
    ends = autodiff.backprop([y * 3.0], [gradient], since=y.index)
    assert [tensor is y for tensor, _ in ends] == [True]
    z = (x * x).sum()
    x.data[0] = 5.0
    with pytest.raises(tg.GraphError, match="changed"):
        z.backward()


def first_only(g: Any, shape: tuple[int, ...], sender: Any, i: int) -> Any:
    return np.broadcast_to(np.reshape(g, -1)[: int(np.prod(shape))].reshape(shape) * 1.0, shape)


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (autodiff, "unbroadcast", first_only),
        (autodiff, "gather", lambda messages, shape: patch.gather(messages[:-1] or messages, shape)),
        (patch.Patch, "add_to", lambda self, total: total.__setitem__(self.key, self.value)),
    ],
)
def test_a_bug_in_the_engine_is_caught(module: Any, name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_a_small_network()
    monkeypatch.setattr(module, name, wrong)
    with pytest.raises(Exception, match=r"."):
        check_a_small_network()


class Forgetful(Arrays):
    """Keeps the first message only."""

    def add(self, tensor: Any, message: Any, sender: Any = None, i: int = 0) -> None:
        if tensor.index not in self.pending:
            super().add(tensor, message, sender, i)


class Latest(Arrays):
    """Keeps the last message only."""

    def add(self, tensor: Any, message: Any, sender: Any = None, i: int = 0) -> None:
        self.pending.pop(tensor.index, None)
        super().add(tensor, message, sender, i)


class Unfitted(Arrays):
    """Takes every message as it is."""

    def add(self, tensor: Any, message: Any, sender: Any = None, i: int = 0) -> None:
        held = self.pending.get(tensor.index)
        if isinstance(message, (ToWeight, ThroughWeight)):
            message = message.dense()
        message = message.dense(tensor.shape) if isinstance(message, Patch) else message
        self.pending[tensor.index] = message if held is None else held + message


class Greedy(Arrays):
    """Adds in place to whatever arrived first, the caller's arrays too."""

    def take(self, tensor: Any) -> Any:
        self.owned.discard(tensor.index)
        return super().take(tensor)

    def add(self, tensor: Any, message: Any, sender: Any = None, i: int = 0) -> None:
        self.owned.add(tensor.index)
        super().add(tensor, message, sender, i)


class Sharing(Arrays):
    """Hands out arrays that others hold too."""

    def own(self, tensor: Any, g: Any) -> Any:
        return g


class ForgetfulRecorded(Recorded):
    def add(self, tensor: Any, message: Any, sender: Any = None, i: int = 0) -> None:
        if tensor.index not in self.pending:
            super().add(tensor, message, sender, i)


class Unrecorded(Recorded):
    """Does not switch recording on."""

    def take(self, tensor: Any) -> Any:
        g = super().take(tensor)
        current.set(current.get()._replace(recording=False))
        return g


def without(**lost: Any) -> Callable[..., Any]:
    """The sweep with some of its arguments lost."""
    return lambda seeds, sums, useful, since, used: sweep(
        seeds, sums, **({"useful": useful, "since": since, "used": used} | lost)
    )


def once(seeds: Any, *rest: Any) -> Any:
    """The sweep from each output once."""
    return sweep({id(tensor): (tensor, g) for tensor, g in seeds}.values(), *rest)


def eldest_first(heap: list[int]) -> int:
    return heap.pop(heap.index(max(heap)))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[("Arrays", wrong) for wrong in (Forgetful, Latest, Unfitted, Greedy, Sharing)],
        *[("Recorded", wrong) for wrong in (ForgetfulRecorded, Unrecorded)],
        *[("sweep", without(since=0)), ("sweep", without(used={})), ("sweep", once)],
        ("between", lambda outputs, wanted, since: {}),
        ("check_seals", lambda used: None),
        ("heappop", eldest_first),
    ],
)
def test_a_bug_in_the_sweep_is_caught(name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_the_sweep()
    monkeypatch.setattr(autodiff, name, wrong)
    with pytest.raises((AssertionError, tg.TensorError, pytest.fail.Exception, ValueError)):
        contextvars.copy_context().run(check_the_sweep)  # a bug may leave the context changed


def test_the_context_is_put_back_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accumulators change it for every operation."""

    class Fails(Recorded):
        def rules(self, node: Any, g: Any) -> Any:
            raise ZeroDivisionError

    x = tg.Tensor([1.0], requires_grad=True)
    before = current.get()
    monkeypatch.setattr(autodiff, "Recorded", Fails)
    with pytest.raises(ZeroDivisionError):
        tg.grad((x * x).sum(), [x], create_graph=True)
    assert current.get() is before
