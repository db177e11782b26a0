"""Wrong calls, each with what its error must say: the operation, what was given, and what to do."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


class OtherTensor:
    """Another framework's tensor: it converts to an array, but its own graph would be lost."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.ones(3)


x = tg.Tensor(np.arange(6.0).reshape(2, 3) + 1, requires_grad=True)
v = tg.Tensor([1.0, 2.0], requires_grad=True)
i = tg.Tensor([0, 1])
other, rng = OtherTensor(), np.random.default_rng(0)

Bad = tuple[str, Callable[[], Any], type[Exception], str]

CALLS: list[Bad] = [
    # making tensors
    ("a tensor of None", lambda: tg.Tensor(None), tg.DTypeError, "Tensor: got NoneType, expected"),
    ("of text", lambda: tg.Tensor("abc"), tg.DTypeError, "Tensor: got str, expected"),
    ("of a list of text", lambda: tg.Tensor(["a", "b"]), tg.DTypeError, "expected numbers; convert"),
    ("of a ragged list", lambda: tg.Tensor([[1.0, 2.0], [3.0]]), tg.DTypeError, "ragged list.* pad it"),
    ("of a masked array", lambda: tg.Tensor(np.ma.masked_equal([1.0, 2.0], 2.0)), tg.DTypeError, "mask would be lost"),
    ("of objects", lambda: tg.Tensor(np.array([1, None], object)), tg.DTypeError, "got dtype object, expected"),
    ("of a dict", lambda: tg.Tensor({"a": 1}), tg.DTypeError, "got dict, expected"),
    ("of a set", lambda: tg.Tensor({1.0}), tg.DTypeError, "got set, expected"),
    ("of dates", lambda: tg.Tensor(np.array(["2020-01-01"], "M8[D]")), tg.DTypeError, "datetime64.* expected numbers"),
    ("of another framework's tensor", lambda: tg.Tensor(other), tg.DTypeError, "OtherTensor.* pass its .numpy"),
    ("of a list of tensors", lambda: tg.Tensor([v, v]), tg.DTypeError, "list of tensors.* tg.stack"),
    ("integers that want a gradient", lambda: tg.Tensor([1, 2], requires_grad=True), tg.DTypeError, "int64.* dtype="),
    ("an unknown dtype", lambda: tg.Tensor([1.0], dtype="real"), tg.DTypeError, "cannot make dtype 'real'"),
    # operators and elementwise functions
    (
        "add of shapes that do not fit",
        lambda: x + v,
        tg.ShapeError,
        r"add: cannot take x \(2, 3\) and v \(2,\).*reshape",
    ),
    ("multiply of shapes that do not fit", lambda: v * np.ones(3), tg.ShapeError, "multiply: .*reshape"),
    ("add of text", lambda: x + "1", tg.DTypeError, "add: got str, expected"),
    ("add of None", lambda: x + None, tg.DTypeError, "add: got NoneType, expected"),
    ("None times a tensor", lambda: None * x, tg.DTypeError, "multiply: got NoneType, expected"),
    ("divide by a ragged list", lambda: x / [[1.0], [1.0, 2.0]], tg.DTypeError, "divide: got a ragged list.* pad it"),
    ("add of an object array", lambda: x + np.array([None] * 3), tg.DTypeError, "add: got dtype object, expected"),
    ("add of another framework's tensor", lambda: x + other, tg.DTypeError, "add: .*OtherTensor.* pass its"),
    ("add of a list of tensors", lambda: x + [v, v, v], tg.DTypeError, "add: got a list of tensors.* tg.stack"),
    ("power of a dict", lambda: x ** {}, tg.DTypeError, "power: got dict, expected"),
    ("comparison with text", lambda: x > "a", tg.DTypeError, "greater: got str, expected"),
    ("maximum of shapes that do not fit", lambda: np.maximum(x, v), tg.ShapeError, "maximum: .*reshape"),
    ("where of shapes that do not fit", lambda: np.where(v.data > 0, x, 0.0), tg.ShapeError, "where: .*reshape"),
    ("where of a mask alone", lambda: np.where(x), tg.DTypeError, r"where: got 1 operands, expected 3: where\("),
    ("clip to text", lambda: np.clip(x, "0", "1"), tg.DTypeError, "clip: got str, expected"),
    ("an out= array", lambda: np.tanh(x, out=np.ones((2, 3))), tg.GraphError, "tanh: out=.* take the result"),
    ("a where= mask", lambda: np.exp(x, where=x.data > 2), tg.DTypeError, r"exp has no rule for where=.* write exp\("),
    ("a ufunc's at", lambda: np.add.at(x, 0, 1.0), tg.TensorError, "add.at has no rule.* np.sum"),
    (
        "a ufunc without a rule",
        lambda: np.nextafter(x, 1),
        tg.TensorError,
        "nextafter has no rule.* add one with tg.primitive",
    ),
    ("a function without a rule", lambda: np.unwrap(x), tg.TensorError, "unwrap has no rule.* tg.primitive"),
    # in place
    ("+= on a tensor", lambda: x.__iadd__(1.0), tg.GraphError, r"x \+= .* cannot change in place; write x = x \+"),
    ("an entry assigned", lambda: x.__setitem__(0, 1.0), tg.GraphError, "cannot change in place; write tg.where"),
    ("a result's data assigned", lambda: setattr(x * 1.0, "data", 1.0), tg.GraphError, "result of multiply.*detach"),
    ("a leaf's data of another shape", lambda: setattr(v, "data", np.ones(3)), tg.ShapeError, "assign the same kind"),
    # matrices
    ("matmul that does not fit", lambda: x @ x, tg.ShapeError, r"matmul: cannot take x \(2, 3\) and x.* last but one"),
    ("matmul of a scalar", lambda: x @ 2.0, tg.ShapeError, "matmul: .* last axis of the first"),
    ("dot that does not fit", lambda: np.dot(x, x), tg.ShapeError, "matmul: .* last axis"),
    ("tensordot that does not fit", lambda: np.tensordot(x, v, 1), tg.ShapeError, r"tensordot: .*\(2, 3\).*differ"),
    ("tensordot over absent axes", lambda: np.tensordot(x, v, (5, 0)), tg.ShapeError, "tensordot: .*do not exist"),
    ("einsum that does not fit", lambda: np.einsum("ij,ij->i", x, x.T), tg.ShapeError, "einsum: cannot take"),
    ("einsum of too few", lambda: np.einsum("ij,jk->ik", x), tg.ShapeError, "name 2 operands, and there are 1"),
    ("einsum of too many axes", lambda: np.einsum("ijk->i", x), tg.ShapeError, "does not fit an operand of 2 axes"),
    ("einsum of signs", lambda: np.einsum("i?->i", x), tg.ShapeError, "should hold letters"),
    ("einsum without subscripts", lambda: np.einsum(x, x), tg.ShapeError, "einsum: got no subscripts.*expected text"),
    ("inverse of an oblong", lambda: np.linalg.inv(x), tg.ShapeError, "inv: cannot take x.*square"),
    ("inverse of a singular matrix", lambda: np.linalg.inv(x.T @ x), tg.ShapeError, "inv: .*Singular matrix"),
    ("solve that does not fit", lambda: np.linalg.solve(np.eye(2), x.T), tg.ShapeError, "solve: cannot take"),
    ("a norm of no order", lambda: np.linalg.norm(x, 3), tg.InputError, "norm: got ord=3 for matrices"),
    ("a diagonal of a vector", lambda: np.diagonal(v), tg.ShapeError, "moveaxis: cannot take v.*axes are counted"),
    # axes
    (
        "sum over an absent axis",
        lambda: x.sum(axis=2),
        tg.ShapeError,
        r"sum: cannot take x \(2, 3\) with axis=2.*-1 back",
    ),
    ("mean over an axis named in text", lambda: x.mean(axis="time"), tg.DTypeError, "mean: .*'time'.*write mean"),
    ("max of nothing", lambda: np.max(x[:0]), tg.ShapeError, r"max: cannot take .*\(0, 3\).*no identity"),
    ("softmax over an absent axis", lambda: tg.softmax(x, axis=3), tg.ShapeError, "softmax: .*axis 3"),
    ("sum with out=", lambda: np.sum(x, out=np.zeros(())), tg.InputError, "sum: out= would change a tensor"),
    ("array += tensor", lambda: operator.iadd(np.zeros(2), v), tg.GraphError, "write array = array [+] tensor"),
    ("sum with order=", lambda: tg.sum(x, order="C"), tg.DTypeError, r"order=.*write sum\(x"),
    ("max of chosen entries", lambda: np.max(x, where=x.data > 2), tg.InputError, "max: where= needs initial="),
    (
        "a mask of another shape",
        lambda: np.mean(x, where=np.ones((4, 2, 3), bool)),
        tg.ShapeError,
        r"mean: cannot take x \(2, 3\) with where=an array \(4, 2, 3\) of bool",
    ),
    (
        "cumsum over two axes",
        lambda: np.cumsum(x, axis=(0, 1)),
        tg.DTypeError,
        r"cumsum: .*axis=\(0, 1\).*write cumsum",
    ),
    ("take along an absent axis", lambda: np.take(x, [0], axis=7), tg.ShapeError, "take: .*axis 7 is out of bounds"),
    ("take of a mask", lambda: np.take(x, x.data[0] > 1), tg.DTypeError, "take: got a mask"),
    ("median over an absent axis", lambda: np.median(x, axis=7), tg.ShapeError, "axis 7 is out of bounds"),
    ("an axis rolled that is absent", lambda: np.rollaxis(x, 7), tg.ShapeError, "axis 7 is out of bounds"),
    ("slopes of one entry", lambda: np.gradient(x[:1]), tg.ShapeError, "gradient: .*two entries or more"),
    ("slopes along one axis twice", lambda: np.gradient(x, axis=(0, 0)), tg.ShapeError, "repeated axis"),
    ("parts without an end", lambda: np.array_split(x, 2**62), tg.InputError, "array_split: got indices_or_sections"),
    ("a power without an end", lambda: np.linalg.matrix_power(x @ x.T, np.nan), tg.DTypeError, "matrix_power: got n="),
    ("keepdims in words", lambda: tg.logsumexp(x, keepdims="no"), tg.DTypeError, "logsumexp: got keepdims='no'"),
    ("a negative eps", lambda: tg.layer_norm(x, eps=-1), tg.InputError, "layer_norm: got eps=-1"),
    ("the real part of complex numbers", lambda: np.real(tg.Tensor([1j])), tg.DTypeError, "real: got complex"),
    ("a norm of complex numbers", lambda: np.linalg.norm(tg.Tensor([1j])), tg.DTypeError, "norm: got complex"),
    ("transpose with too few axes", lambda: x.transpose(0), tg.ShapeError, "transpose: .*axes"),
    ("squeeze of a longer axis", lambda: np.squeeze(x, 0), tg.ShapeError, "squeeze: .*write squeeze"),
    # shapes
    ("reshape to another size", lambda: x.reshape(4), tg.ShapeError, r"reshape: cannot take x \(2, 3\) with shape=4"),
    ("broadcast to a shape that does not fit", lambda: np.broadcast_to(x, (4, 3)), tg.ShapeError, "broadcast_to: .*"),
    ("concatenate of shapes that do not fit", lambda: np.concatenate([x, x.T]), tg.ShapeError, "concatenate: .*write"),
    ("concatenate of one tensor", lambda: tg.concatenate(x), tg.DTypeError, "concatenate: got Tensor, expected a list"),
    ("stack of nothing", lambda: tg.stack([]), tg.ShapeError, "stack: .*need at least one"),
    (
        "stack of shapes that do not fit",
        lambda: np.stack([x, v]),
        tg.ShapeError,
        "stack: .*same shape; reshape.*np.pad",
    ),
    ("split into unequal parts", lambda: np.split(x, 2, axis=1), tg.ShapeError, "split: .*does not divide into 2"),
    ("pad by reflection", lambda: np.pad(x, 1, "reflect"), tg.ShapeError, "pad: .*'reflect' has no rule, expected"),
    ("pad by half an entry", lambda: np.pad(x, 0.5), tg.DTypeError, "pad: .*should hold integers"),
    ("repeat a negative number of times", lambda: np.repeat(x, -1), tg.ShapeError, "repeat: .*negative"),
    # indices
    ("an index out of range", lambda: x[5], tg.ShapeError, r"getitem: cannot take x \(2, 3\).*out of bounds"),
    ("too many indices", lambda: x[0, 0, 0], tg.ShapeError, "getitem: .*too many indices"),
    ("a float as index", lambda: x[0.5], tg.DTypeError, "getitem: got float as an index, expected integers"),
    ("text as index", lambda: x["a"], tg.DTypeError, "getitem: got str as an index, expected"),
    (
        "a float array as index",
        lambda: x[np.array([0.0])],
        tg.DTypeError,
        "getitem: got an array of float64 as an index",
    ),
    ("a mask that does not fit", lambda: x[np.array([True] * 5)], tg.ShapeError, "getitem: .*boolean"),
    ("take out of range", lambda: np.take(x, [7], axis=0), tg.ShapeError, "getitem: .*out of bounds"),
    ("embedding of floats", lambda: tg.embedding([0.5], x), tg.DTypeError, "embedding: .*float64, expected integers"),
    ("embedding out of range", lambda: tg.embedding([2], x), tg.ShapeError, "embedding: .*rows 0 to 1"),
    ("embedding in a vector", lambda: tg.embedding([0], v), tg.ShapeError, r"embedding: .*expected \(V, D\)"),
    # losses and dropout
    ("targets of another shape", lambda: tg.squared_error(x, v), tg.ShapeError, "squared_error: .*differ; reshape"),
    ("classes out of range", lambda: tg.softmax_cross_entropy(x, [0, 3]), tg.ShapeError, "0 to 3.* 3 classes"),
    ("classes that are not integers", lambda: tg.softmax_cross_entropy(x, [0.0, 1.0]), tg.DTypeError, "integer class"),
    (
        "one class too many",
        lambda: tg.softmax_cross_entropy(x, [0, 1, 2]),
        tg.ShapeError,
        r"expected logits \(\.\.\., C",
    ),
    ("a reduction that is none", lambda: tg.huber(x, x, reduction="max"), tg.InputError, "expected one of 'mean'"),
    ("huber with delta 0", lambda: tg.huber(x, x, delta=0), tg.InputError, "huber: got delta=0, expected a positive"),
    (
        "targets beyond 1",
        lambda: tg.binary_cross_entropy_with_logits(v, [0.0, 2.0]),
        tg.InputError,
        "expected probabilities between 0 and 1",
    ),
    ("dropping everything", lambda: tg.dropout(x, 1.0, rng), tg.InputError, "dropout: got p=1.0, expected"),
    ("dropout of integers", lambda: tg.dropout(np.ones(2, int), 0.5, rng), tg.DTypeError, "dropout: got dtype int"),
    ("dropout with a seed for a generator", lambda: tg.dropout(x, 0.5, 0), tg.DTypeError, "expected np.random.default"),
    # leaving the graph
    (
        "a tensor as array",
        lambda: np.asarray(x),
        tg.GraphError,
        r"silently leave the graph.* tg\.stack.* write t\.data",
    ),
    ("a float of many", lambda: float(x), tg.ShapeError, "item: x .* holds 6 numbers, not one; index it"),
    ("the truth of many", lambda: bool(x > 0) if isinstance(x > 0, tg.Tensor) else bool(x), tg.ShapeError, "not one"),
    ("the length of a scalar", lambda: len(x.sum()), tg.ShapeError, "scalar and has no length"),
    ("a float tensor as index of a list", lambda: [1, 2][v[0]], tg.DTypeError, "cannot be an index; use integers"),
    # gradients
    ("backward of an array", lambda: tg.grad(np.float64(1), x), tg.DTypeError, "grad: got output=.*, expected Tensor"),
    ("backward of many", lambda: (x * 2.0).backward(), tg.GraphError, "not a scalar; reduce it with"),
    ("backward without a graph", lambda: tg.Tensor(1.0).backward(), tg.GraphError, "no graph behind it.*requires_grad"),
    ("backward of a detached", lambda: (x * 1.0).detach().sum().backward(), tg.GraphError, "no graph behind it"),
    ("a gradient of another shape", lambda: (x * 2.0).backward(np.ones(3)), tg.ShapeError, r"shape \(3,\), expected"),
    ("a gradient of text", lambda: (x * 2.0).backward("1"), tg.DTypeError, "backward: got str, expected"),
    ("by an array", lambda: tg.grad(x.sum(), np.ones(3)), tg.DTypeError, "got inputs=.*ndarray, expected Tensor"),
    ("by a constant", lambda: tg.grad(x.sum(), tg.Tensor(1.0)), tg.GraphError, "does not require a gradient; make"),
    ("by None", lambda: tg.grad(x.sum(), None), tg.DTypeError, "grad: got inputs=None, expected Tensor"),
    ("too few gradients", lambda: tg.grad([x, v], x, grad_output=[x]), tg.ShapeError, "1 grad_output for 2 outputs"),
    (
        "a jvp along another shape",
        lambda: tg.jvp(x * 1.0, x, np.ones(3)),
        tg.ShapeError,
        r"jvp: .*\(3,\), expected \(2, 3",
    ),
    ("an hvp of no scalar", lambda: tg.hvp(x * x, x, x), tg.GraphError, "hvp: .* is not a scalar; reduce it"),
    ("an hvp along too few", lambda: tg.hvp(x.sum(), [x, v], [x]), tg.ShapeError, "hvp: got 1 vectors for 2 inputs"),
    (
        "a jacobian of an array",
        lambda: tg.jacobian(np.ones(2), x),
        tg.DTypeError,
        "got output=.*ndarray, expected Tensor",
    ),
    ("a jacobian by a number", lambda: tg.jacobian(x * 2, 1.5), tg.DTypeError, "jacobian: got inputs=1.5, expected"),  # type: ignore[arg-type]
    ("a jvp without tangents", lambda: tg.jvp(x * 2, [x], None), tg.DTypeError, "jvp: got NoneType"),
    ("a jvp by a number", lambda: tg.jvp(x * 2, 1.5, 1.0), tg.DTypeError, "jvp: got inputs=1.5, expected"),  # type: ignore[arg-type]
    ("a checkpoint of nothing", lambda: tg.checkpoint(None), tg.DTypeError, "expected a function"),  # type: ignore[arg-type]
    ("a rate in words", lambda: tg.optim.SGD([x], lr="fast"), tg.DTypeError, "got lr='fast', expected a finite number"),  # type: ignore[arg-type]
    ("gradcheck to the third order", lambda: tg.gradcheck(np.exp, 1.0, order=3), tg.InputError, "expected 1 or 2"),
    # time
    ("steps of a scalar", lambda: tg.steps(1.0), tg.ShapeError, "steps: got a scalar, expected a sequence"),
    ("steps of None", lambda: tg.steps(None), tg.DTypeError, "steps: got NoneType, expected"),
    ("steps of text", lambda: tg.steps(["a"]), tg.DTypeError, "steps: got str, expected"),
    ("steps from -1", lambda: tg.steps(x, start=-1), tg.InputError, "steps: got start=-1, expected"),
    ("a scope without a name", lambda: tg.scope("").__enter__(), tg.InputError, "scope: got '', expected a name"),
    ("a scope with a slash", lambda: tg.scope("a/b").__enter__(), tg.InputError, "nest scopes with nested blocks"),
    ("checkpoints every 0", lambda: tg.checkpoint_steps(np.add, v, x, every=0), tg.InputError, "expected 'sqrt' or"),
    ("checkpoints of a scalar", lambda: tg.checkpoint_steps(np.add, v, 1.0), tg.ShapeError, "expected a sequence"),
    ("a primitive's name taken", lambda: tg.primitive(np.tanh, vjps=[None]), tg.TensorError, "already; give another"),
]


def test_there_are_enough() -> None:
    assert len(CALLS) >= 60
    assert len({title for title, *_ in CALLS}) == len(CALLS)


@pytest.mark.parametrize(("call", "kind", "words"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_a_wrong_call_says_what_is_wrong(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"(?s){words}") as raised:
        call()
    assert isinstance(raised.value, tg.TensorError)


def test_an_error_names_step_scope_and_the_users_line() -> None:
    def fails() -> None:
        with tg.scope("decoder"):
            for _, part in tg.steps(np.ones((2, 4))):
                weight = tg.Tensor(np.ones((3, 3)), requires_grad=True)  # made here
                part @ weight

    with pytest.raises(tg.ShapeError) as raised:
        fails()
    text = str(raised.value)
    for word in ("matmul at step 0 in scope decoder", "part (4,)", "weight (3, 3)", "test_bad_input.py", "# made here"):
        assert word in text
