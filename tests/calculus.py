"""One entry per operation of the table: how to draw operands for it, how to call it, and PyTorch's word for it.

`test_ops.py`, `test_torch_parity.py` and `test_planted_bugs.py` walk this table; an operation without an
entry fails the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg
from tinygrad_rnn.core.indexing import Slot, scatter

Operands = list[np.ndarray]
Draw = st.SearchStrategy[tuple[Operands, dict[str, Any]]]


class Case(NamedTuple):
    draw: Draw
    fn: Callable[..., Any]
    """Called with the operands, as tensors or arrays, and the parameters."""
    torch: Callable[..., Any]
    """The same with PyTorch, whose module is the first argument."""


CASES: dict[str, Case] = {}


def case(name: str, draw: Draw, fn: Callable[..., Any], torch: Callable[..., Any]) -> None:
    assert name not in CASES
    CASES[name] = Case(draw, fn, torch)


# ---------------------------------------------------------------------- values
Domain = Callable[[np.random.Generator, Sequence[int]], Any]


def normal(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    return rng.normal(size=shape)


def positive(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    return rng.uniform(0.5, 2.0, size=shape)


def nonzero(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    """Away from 0, where many functions have a kink or a pole."""
    return positive(rng, shape) * rng.choice([-1.0, 1.0], size=shape)


def apart(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    """No two alike, so that an extreme has a derivative."""
    size = int(np.prod(shape))
    return (rng.permutation(size) * 0.3 - 0.1 * size + 0.05).reshape(shape)


def between(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    """Away from the integers and their halves, where rounding jumps."""
    return rng.integers(-3, 3, size=shape) + rng.uniform(0.1, 0.4, size=shape) + rng.choice([0.0, 0.5], size=shape)


@st.composite
def arrays(draw: Any, shape: Sequence[int], domain: Domain = normal) -> np.ndarray:
    """An array of this shape, in one of the layouts that memory can have."""
    x = np.asarray(domain(np.random.default_rng(draw(st.integers(0, 2**16))), shape))
    layout = draw(st.sampled_from(["C", "Fortran", "strided", "reversed"] if x.ndim else ["C"]))
    if layout == "Fortran":
        return np.asfortranarray(x)
    if layout == "strided":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return np.flip(np.flip(x).copy()) if layout == "reversed" else x


# ---------------------------------------------------------------------- shapes
SQUARE = (3, 3)
"""Always among the examples: only a square matrix shows a transposed gradient."""


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    drawn = hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=3)
    return st.one_of(st.just(SQUARE), drawn)


@st.composite
def unary(draw: Any, domain: Domain = normal, **limits: int) -> tuple[Operands, dict[str, Any]]:
    return [draw(arrays(draw(shapes(**limits)), domain))], {}


@st.composite
def with_params(draw: Any, domain: Domain = normal, params: Any = None, **limits: int) -> tuple[Operands, Any]:
    """One operand, and parameters drawn for its shape by `params(draw, shape)`."""
    shape = draw(shapes(**limits))
    return [draw(arrays(shape, domain))], params(draw, shape)


@st.composite
def broadcast(draw: Any, *domains: Domain) -> tuple[Operands, dict[str, Any]]:
    """Operands of shapes that broadcast against each other."""
    n = len(domains)
    drawn = hnp.mutually_broadcastable_shapes(num_shapes=n, min_dims=0, max_dims=3, min_side=0, max_side=3)
    fit = draw(st.one_of(st.just((SQUARE,) * n), drawn.map(lambda s: s.input_shapes)))
    return [draw(arrays(shape, domain)) for shape, domain in zip(fit, domains, strict=True)], {}


def an_axis(draw: Any, shape: Sequence[int]) -> int:
    return draw(st.integers(-len(shape), len(shape) - 1))


def an_axis_or_none(draw: Any, shape: Sequence[int]) -> int | None:
    return draw(st.one_of(st.just(an_axis(draw, shape)) if shape else st.none(), st.none()))


def axes(draw: Any, shape: Sequence[int]) -> Any:
    """One axis, several, or None.

    Hypothesis tries the simplest example first, so the first of these is drawn for a square whatever its version draws
    later: a sum over one axis shows a transposed gradient, and one over all axes does not.
    """
    if not shape:
        return None
    one = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(one, min_size=1, max_size=len(shape), unique_by=lambda i: i % len(shape)).map(tuple)
    return draw(st.one_of(one, several, st.none()))


def reduction(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"axis": axes(draw, shape), "keepdims": draw(st.booleans())}


def with_ddof(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {**reduction(draw, shape), "ddof": draw(st.sampled_from([0, 0.5]))}


def along(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"axis": an_axis(draw, shape)}


def dims(torch: Any, x: Any, axis: Any) -> Any:
    """PyTorch's form of an axis: all of them where NumPy says None."""
    return tuple(range(x.ndim)) if axis is None else axis


# ---------------------------------------------------------------------- elementwise
for _name, _domains in {
    "add": (normal, normal),
    "subtract": (normal, normal),
    "multiply": (normal, normal),
    "divide": (normal, nonzero),
    "logaddexp": (normal, normal),
    "logaddexp2": (normal, normal),
    "arctan2": (nonzero, nonzero),
    "hypot": (nonzero, nonzero),
}.items():
    case(_name, broadcast(*_domains), getattr(np, _name), lambda torch, a, b, name=_name: getattr(torch, name)(a, b))

case("power", broadcast(positive, normal), np.power, lambda torch, a, b: torch.pow(a, b))

for _name, _domain in {
    "negative": normal,
    "reciprocal": nonzero,
    "square": normal,
    "sqrt": positive,
    "exp": normal,
    "expm1": normal,
    "log": positive,
    "log1p": positive,
    "sin": normal,
    "cos": normal,
    "tanh": normal,
    "tan": lambda rng, shape: rng.uniform(-1, 1, size=shape),
    "arctan": normal,
    "sinh": normal,
    "cosh": normal,
    "exp2": normal,
    "log2": positive,
    "log10": positive,
    "positive": normal,
    "arcsin": lambda rng, shape: rng.uniform(-0.9, 0.9, size=shape),
    "arccos": lambda rng, shape: rng.uniform(-0.9, 0.9, size=shape),
    "arctanh": lambda rng, shape: rng.uniform(-0.9, 0.9, size=shape),
    "arccosh": lambda rng, shape: rng.uniform(1.2, 3, size=shape),
    "arcsinh": normal,
    "sinc": normal,
    "deg2rad": normal,
    "rad2deg": normal,
    "nan_to_num": normal,
}.items():
    case(_name, unary(_domain), getattr(np, _name), lambda torch, x, name=_name: getattr(torch, name)(x))

case("cbrt", unary(nonzero), np.cbrt, lambda torch, x: torch.sign(x) * torch.abs(x) ** (1 / 3))
case("fabs", unary(nonzero), np.fabs, lambda torch, x: torch.abs(x))
case("abs", unary(nonzero), np.abs, lambda torch, x: torch.abs(x))


@st.composite
def ratio(draw: Any) -> tuple[Operands, dict[str, Any]]:
    """a and b with a / b away from the integers."""
    (b, quotient), _ = draw(broadcast(nonzero, between))
    return [np.array(b * quotient), b], {}


case("fmod", ratio(), np.fmod, lambda torch, a, b: torch.fmod(a, b))
case("remainder", ratio(), np.remainder, lambda torch, a, b: torch.remainder(a, b))


@st.composite
def unlike(draw: Any) -> tuple[Operands, dict[str, Any]]:
    """Two operands that are nowhere close to equal."""
    (a, difference), _ = draw(broadcast(normal, nonzero))
    return [np.array(a + difference), a], {}


case("maximum", unlike(), np.maximum, lambda torch, a, b: torch.maximum(a, b))
case("fmax", unlike(), np.fmax, lambda torch, a, b: torch.fmax(a, b))
case("fmin", unlike(), np.fmin, lambda torch, a, b: torch.fmin(a, b))
case("minimum", unlike(), np.minimum, lambda torch, a, b: torch.minimum(a, b))


@st.composite
def limited(draw: Any) -> tuple[Operands, dict[str, Any]]:
    """A value below, between or above two limits, which do not cross."""
    (low, where), _ = draw(broadcast(normal, between))
    return [np.array(low + where), low, np.array(np.broadcast_to(low + 1.05, np.shape(low)))], {}


case("clip", limited(), np.clip, lambda torch, x, low, high: torch.clamp(x, low, high))


@st.composite
def masked(draw: Any) -> tuple[Operands, dict[str, Any]]:
    (m, a, b), _ = draw(broadcast(normal, normal, normal))
    return [np.asarray(m > 0), a, b], {}


case("where", masked(), np.where, lambda torch, m, a, b: torch.where(m, a, b))
case("astype", unary(), lambda x: np.astype(x, x.dtype), lambda torch, x: x.clone())
case("copy", unary(), np.copy, lambda torch, x: x.clone())

# ---------------------------------------------------------------------- activations
F = "nn.functional"
case("sigmoid", unary(), tg.sigmoid, lambda torch, x: torch.sigmoid(x))
case("relu", unary(nonzero), tg.relu, lambda torch, x: torch.relu(x))
case("softplus", unary(), tg.softplus, lambda torch, x: torch.nn.functional.softplus(x))
case("silu", unary(), tg.silu, lambda torch, x: torch.nn.functional.silu(x))
case("gelu", unary(), tg.gelu, lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"))
case(
    "leaky_relu",
    with_params(nonzero, lambda draw, shape: {"negative_slope": draw(st.sampled_from([0.01, 0.3]))}),
    tg.leaky_relu,
    lambda torch, x, negative_slope: torch.nn.functional.leaky_relu(x, negative_slope),
)
case(
    "elu",
    with_params(nonzero, lambda draw, shape: {"alpha": draw(st.sampled_from([1.0, 0.5]))}),
    tg.elu,
    lambda torch, x, alpha: torch.nn.functional.elu(x, alpha),
)

# ---------------------------------------------------------------------- reductions
case(
    "sum",
    with_params(params=reduction),
    lambda x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims),
    lambda torch, x, axis, keepdims: torch.sum(x, dims(torch, x, axis), keepdim=keepdims),
)
case(
    "mean",
    with_params(params=reduction, min_side=1),
    lambda x, axis, keepdims: np.mean(x, axis=axis, keepdims=keepdims),
    lambda torch, x, axis, keepdims: torch.mean(x, dims(torch, x, axis), keepdim=keepdims),
)
case(
    "var",
    with_params(params=with_ddof, min_side=1),
    lambda x, axis, ddof, keepdims: np.var(x, axis=axis, ddof=ddof, keepdims=keepdims),
    lambda torch, x, axis, ddof, keepdims: torch.var(x, dims(torch, x, axis), correction=ddof, keepdim=keepdims),
)
case(
    "std",
    with_params(apart, params=with_ddof, min_dims=1, min_side=2).filter(
        lambda drawn: bool(np.all(np.std(drawn[0][0], axis=drawn[1]["axis"]) > 0.01))
    ),
    lambda x, axis, ddof, keepdims: np.std(x, axis=axis, ddof=ddof, keepdims=keepdims),
    lambda torch, x, axis, ddof, keepdims: torch.std(x, dims(torch, x, axis), correction=ddof, keepdim=keepdims),
)
case(
    "norm",
    with_params(nonzero, params=reduction, min_side=1),
    lambda x, axis, keepdims: tg.norm(x, axis=axis, keepdims=keepdims),
    lambda torch, x, axis, keepdims: torch.sum(x * x, dims(torch, x, axis), keepdim=keepdims).sqrt(),
)


def _torch_prod(torch: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    wanted = dims(torch, x, axis)
    for i in sorted({i % x.ndim for i in ([wanted] if isinstance(wanted, int) else wanted)}, reverse=True):
        x = torch.prod(x, i, keepdim=keepdims)
    return x


case(
    "prod",
    with_params(params=reduction),
    lambda x, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims),
    _torch_prod,
)
case(
    "max",
    with_params(apart, params=reduction, min_side=1),
    lambda x, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
    lambda torch, x, axis, keepdims: torch.amax(x, dims(torch, x, axis), keepdim=keepdims),
)
case(
    "min",
    with_params(apart, params=reduction, min_side=1),
    lambda x, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
    lambda torch, x, axis, keepdims: torch.amin(x, dims(torch, x, axis), keepdim=keepdims),
)
case(
    "cumsum",
    with_params(params=lambda draw, shape: {"axis": an_axis_or_none(draw, shape)}),
    lambda x, axis: np.cumsum(x, axis=axis),
    lambda torch, x, axis: torch.cumsum(x.reshape(-1), 0) if axis is None else torch.cumsum(x, axis),
)

case(
    "cumprod",
    with_params(nonzero, params=lambda draw, shape: {"axis": an_axis_or_none(draw, shape)}),
    lambda x, axis: np.cumprod(x, axis=axis),
    lambda torch, x, axis: torch.cumprod(x.reshape(-1), 0) if axis is None else torch.cumprod(x, axis),
)


# ---------------------------------------------------------------------- normalization
case(
    "logsumexp",
    with_params(params=reduction, min_side=1),
    tg.logsumexp,
    lambda torch, x, axis, keepdims: torch.logsumexp(x, dims(torch, x, axis), keepdim=keepdims),
)
case(
    "softmax",
    with_params(params=along, min_dims=1, min_side=1),
    tg.softmax,
    lambda torch, x, axis: torch.softmax(x, axis),
)
case(
    "log_softmax",
    with_params(params=along, min_dims=1, min_side=1),
    tg.log_softmax,
    lambda torch, x, axis: torch.log_softmax(x, axis),
)
case(
    "standardize",
    with_params(params=lambda draw, shape: {"axis": axes(draw, shape), "eps": 0.1}, min_dims=1, min_side=1),
    tg.standardize,
    lambda torch, x, axis, eps: (
        (x - x.mean(dims(torch, x, axis), keepdim=True))
        / (x.var(dims(torch, x, axis), correction=0, keepdim=True) + eps).sqrt()
    ),
)


@st.composite
def normalized(draw: Any) -> tuple[Operands, dict[str, Any]]:
    shape = draw(shapes(min_dims=1, min_side=1))
    return [draw(arrays(s)) for s in (shape, shape[-1:], shape[-1:])], {"eps": 0.1}


case(
    "layer_norm",
    normalized(),
    tg.layer_norm,
    lambda torch, x, w, b, eps: torch.nn.functional.layer_norm(x, x.shape[-1:], w, b, eps),
)


# ---------------------------------------------------------------------- linear algebra
@st.composite
def products(draw: Any) -> tuple[Operands, dict[str, Any]]:
    """Operands of matmul: vectors, matrices, and stacks that broadcast."""
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    stack = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=2)).input_shapes
    left, right = stack[0] + (n, k), stack[1] + (k, m)
    kinds = [(SQUARE, SQUARE), (left, right), ((k,), right), (left, (k,)), ((k,), (k,)), (stack[0] + (n, k), (k, m))]
    a, b = draw(st.sampled_from(kinds))
    return [draw(arrays(a)), draw(arrays(b))], {}


case("matmul", products(), np.matmul, lambda torch, a, b: torch.matmul(a, b))
case("outer", broadcast(normal, normal), np.outer, lambda torch, a, b: torch.outer(a.reshape(-1), b.reshape(-1)))


@st.composite
def dotted(draw: Any) -> tuple[Operands, dict[str, Any]]:
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    kinds = [(SQUARE, SQUARE), ((n, k), (k,)), ((k,), (2, k, m)), ((n, k), (2, k, m)), ((), (n, m)), ((n, m), ())]
    a, b = draw(st.sampled_from(kinds))
    return [draw(arrays(a)), draw(arrays(b))], {}


def _torch_dot(torch: Any, a: Any, b: Any) -> Any:
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return torch.tensordot(a, b, dims=([a.ndim - 1], [max(b.ndim - 2, 0)]))


case("dot", dotted(), np.dot, _torch_dot)


@st.composite
def contracted(draw: Any) -> tuple[Operands, dict[str, Any]]:
    i, j, k = (draw(st.integers(0, 3)) for _ in range(3))
    a, b, over = draw(
        st.sampled_from(
            [
                (SQUARE, SQUARE, 1),
                ((i, j), (i, j), 2),
                ((i,), (j,), 0),
                ((i, j, k), (j, i), ((1, 0), (0, 1))),
                ((i, j), (k, j), (-1, 1)),
            ]
        )
    )
    return [draw(arrays(a)), draw(arrays(b))], {"axes": over}


def _torch_tensordot(torch: Any, a: Any, b: Any, axes: Any) -> Any:
    pairs = axes if isinstance(axes, int) else [[p] if isinstance(p, int) else list(p) for p in axes]
    return torch.tensordot(a, b, dims=pairs)


case("tensordot", contracted(), np.tensordot, _torch_tensordot)


@st.composite
def inners(draw: Any) -> tuple[Operands, dict[str, Any]]:
    k = draw(st.integers(0, 3))
    a, b = draw(st.sampled_from([(SQUARE, SQUARE), ((k,), (k,)), ((2, k), (3, 1, k)), ((), (2, k)), ((2, k), ())]))
    return [draw(arrays(a)), draw(arrays(b))], {}


case("inner", inners(), np.inner, lambda torch, a, b: torch.inner(a, b))

EINSUMS: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("ij,jk->ik", (SQUARE, SQUARE)),
    ("ij->ji", (SQUARE,)),
    ("ij,jk", ((2, 3), (3, 2))),
    ("bi,ij,bj->b", ((2, 3), (3, 2), (2, 2))),
    ("ii->i", (SQUARE,)),
    ("ii", (SQUARE,)),
    ("ij->", ((2, 3),)),
    ("ij->i", ((2, 3),)),
    ("i,j->ij", ((2,), (3,))),
    ("i,i->", ((3,), (3,))),
    ("iij,jk->ik", ((2, 2, 3), (3, 2))),
    ("...i,ij->...j", ((2, 2, 3), (3, 2))),
    ("...ij,...jk->...ik", ((2, 1, 2, 3), (3, 3, 2))),
    ("...,...->...", ((2, 1), (3,))),
    ("...i->...", ((2, 3),)),
    ("ij,jk->ik", ((0, 3), (3, 2))),
    ("ij,jk->ik", ((2, 0), (0, 2))),
    (",i->i", ((), (3,))),
]


@st.composite
def einsums(draw: Any) -> tuple[Operands, dict[str, Any]]:
    subscripts, given = draw(st.sampled_from(EINSUMS))
    return [draw(arrays(shape)) for shape in given], {"subscripts": subscripts}


case(
    "einsum",
    einsums(),
    lambda *xs, subscripts: np.einsum(subscripts, *xs),
    lambda torch, *xs, subscripts: torch.einsum(subscripts, *xs),
)


def diagonals(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"k": draw(st.integers(-2, 2))}


case("triu", with_params(params=diagonals, min_dims=2), np.triu, lambda torch, x, k: torch.triu(x, k))
case("tril", with_params(params=diagonals, min_dims=2), np.tril, lambda torch, x, k: torch.tril(x, k))


case(
    "diag",
    with_params(params=diagonals, min_dims=1, max_dims=2, min_side=3),
    np.diag,
    lambda torch, x, k: torch.diag(x, k),
)


def planes(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    first, second = draw(st.permutations(range(len(shape))))[:2]
    return {"offset": draw(st.integers(-1, 1)), "axis1": first, "axis2": second - len(shape)}


case(
    "diagonal",
    with_params(params=planes, min_dims=2, min_side=1),
    np.diagonal,
    lambda torch, x, offset, axis1, axis2: torch.diagonal(x, offset, axis1, axis2),
)
case(
    "trace",
    with_params(params=planes, min_dims=2, min_side=1),
    np.trace,
    lambda torch, x, offset, axis1, axis2: torch.diagonal(x, offset, axis1, axis2).sum(-1),
)


def invertible(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    return rng.normal(size=shape) * 0.3 + 2 * np.eye(shape[-1])


@st.composite
def systems(draw: Any) -> tuple[Operands, dict[str, Any]]:
    n, m = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    a, b = draw(
        st.sampled_from([(SQUARE, SQUARE), ((n, n), (n,)), ((2, n, n), (n,)), ((2, n, n), (n, m)), ((n, n), (2, n, m))])
    )
    return [draw(arrays(a, invertible)), draw(arrays(b))], {}


def _torch_solve(torch: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return torch.linalg.solve(a, b[:, None])[..., 0]
    return torch.linalg.solve(a, b.expand(*a.shape[:-2], *b.shape) if b.ndim < a.ndim else b)


case("solve", systems(), np.linalg.solve, _torch_solve)
case(
    "inv",
    st.sampled_from([SQUARE, (1, 1), (2, 2, 2)]).flatmap(lambda s: arrays(s, invertible)).map(lambda x: ([x], {})),
    np.linalg.inv,
    lambda torch, x: torch.linalg.inv(x),
)

# ---------------------------------------------------------------------- shaping
case(
    "reshape",
    with_params(params=lambda draw, shape: {"shape": draw(st.sampled_from([(int(np.prod(shape)), 1), shape[::-1]]))}),
    lambda x, shape: np.reshape(x, shape),  # NumPy 2.0 has another name for it
    lambda torch, x, shape: torch.reshape(x, shape),
)
case("ravel", unary(), np.ravel, lambda torch, x: x.reshape(-1))
case(
    "expand_dims",
    with_params(params=lambda draw, shape: {"axis": draw(st.integers(-len(shape) - 1, len(shape)))}),
    np.expand_dims,
    lambda torch, x, axis: torch.unsqueeze(x, axis),
)


def ones_of(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    at = [i for i, n in enumerate(shape) if n == 1]
    return {"axis": draw(st.sampled_from([None, *(i - len(shape) for i in at), tuple(at)]))}


case(
    "squeeze",
    with_params(params=ones_of),
    np.squeeze,
    lambda torch, x, axis: torch.squeeze(x) if axis is None else torch.squeeze(x, axis),
)


def permuted(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    order = draw(st.one_of(st.none(), st.permutations([i - len(shape) * (i % 2) for i in range(len(shape))])))
    return {"axes": order}


case(
    "transpose",
    with_params(params=permuted),
    np.transpose,
    lambda torch, x, axes: x.permute(tuple(range(x.ndim))[::-1] if axes is None else tuple(axes)),
)


def two_axes(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"axis1": an_axis(draw, shape), "axis2": an_axis(draw, shape)}


case(
    "swapaxes",
    with_params(params=two_axes, min_dims=1),
    np.swapaxes,
    lambda torch, x, axis1, axis2: x.swapaxes(axis1, axis2),
)


def moves(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    n = draw(st.integers(0, len(shape)))
    source, target = (tuple(draw(st.permutations(range(len(shape))))[:n]) for _ in range(2))
    return {"source": source, "destination": tuple(i - len(shape) for i in target)}


case(
    "moveaxis",
    with_params(params=moves),
    np.moveaxis,
    lambda torch, x, source, destination: torch.movedim(x, source, destination),
)
case(
    "flip",
    with_params(params=lambda draw, shape: {"axis": axes(draw, shape)}),
    np.flip,
    lambda torch, x, axis: torch.flip(x, dims(torch, x, axis) if not isinstance(axis, int) else (axis,)),
)


def stretched(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    wide = tuple(draw(st.integers(0, 3)) if n == 1 else n for n in shape)
    return {"shape": (*draw(st.sampled_from([(), (2,), (1, 3)])), *wide)}


case(
    "broadcast_to",
    with_params(params=stretched),
    np.broadcast_to,
    lambda torch, x, shape: torch.broadcast_to(x, shape),
)
case(
    "tile",
    with_params(params=lambda draw, shape: {"reps": draw(st.sampled_from([2, (2,), (1, 2), (2, 1, 2), 0]))}),
    np.tile,
    lambda torch, x, reps: torch.tile(x, (reps,) if isinstance(reps, int) else reps),
)


def repeats(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    axis = an_axis_or_none(draw, shape)
    n = int(np.prod(shape)) if axis is None else shape[axis]
    each = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    return {"axis": axis, "repeats": draw(st.one_of(st.integers(0, 3), each))}


case(
    "repeat",
    with_params(params=repeats),
    np.repeat,
    lambda torch, x, repeats, axis: torch.repeat_interleave(
        x, repeats if isinstance(repeats, int) else torch.tensor(repeats, dtype=torch.long), axis
    ),
)


def widths(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    each = st.lists(pair, min_size=len(shape), max_size=len(shape))
    around = draw(st.one_of(st.just(1), pair, each))
    return {"pad_width": around if shape else 0, "constant_values": draw(st.sampled_from([0.0, 1.5]))}


def _torch_pad(torch: Any, x: Any, pad_width: Any, constant_values: float) -> Any:
    pairs = np.broadcast_to(pad_width, (x.ndim, 2))[::-1].ravel().tolist()
    return torch.nn.functional.pad(x, pairs, value=constant_values) if x.ndim else x * 1


case("pad", with_params(params=widths), np.pad, _torch_pad)


@st.composite
def joined(draw: Any, new_axis: bool) -> tuple[Operands, dict[str, Any]]:
    shape = draw(shapes(min_dims=0 if new_axis else 1))
    axis = draw(st.integers(-len(shape) - new_axis, len(shape) - 1 + new_axis))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        n = draw(st.integers(0, 3)) if not new_axis else 0
        at = axis % max(len(shape), 1)
        part = shape if new_axis or shape == SQUARE else (*shape[:at], n, *shape[at + 1 :])
        parts.append(draw(arrays(part)))
    return parts, {"axis": axis}


case(
    "concatenate",
    st.one_of(joined(new_axis=False), joined(new_axis=False).map(lambda drawn: (drawn[0], {"axis": None}))),
    lambda *xs, axis: np.concatenate(xs, axis=axis),
    lambda torch, *xs, axis: torch.cat([x.reshape(-1) for x in xs], 0) if axis is None else torch.cat(xs, axis),
)
case(
    "stack",
    joined(new_axis=True),
    lambda *xs, axis: np.stack(xs, axis=axis),
    lambda torch, *xs, axis: torch.stack(xs, axis),
)


for _name in ("hstack", "vstack", "column_stack"):
    case(
        _name,
        joined(new_axis=True).map(lambda drawn: (drawn[0], {})),
        lambda *xs, n=_name: getattr(np, n)(xs),
        lambda torch, *xs, n=_name: getattr(torch, n)(xs),
    )
for _name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    case(_name, broadcast(normal, normal), getattr(np, _name), lambda torch, *xs, n=_name: getattr(torch, n)(*xs))


def appended(torch: Any, a: Any, b: Any, axis: int | None) -> Any:
    return torch.cat([a.reshape(-1), b.reshape(-1)]) if axis is None else torch.cat([a, b], axis)


case(
    "append",
    joined(new_axis=False).map(lambda drawn: ([drawn[0][0], drawn[0][-1]], drawn[1])),
    np.append,
    appended,
)
case(
    "unstack",
    with_params(params=along, min_dims=1, min_side=1),
    lambda x, axis: tg.unstack(x, axis=axis),
    lambda torch, x, axis: torch.unbind(x, axis),
)


def shifts(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    pair = {"axis": (0, -1), "shift": (draw(st.integers(-4, 4)), 1)}
    one = {"axis": an_axis_or_none(draw, shape), "shift": draw(st.integers(-4, 4))}
    return draw(st.sampled_from([one, pair] if shape else [one]))


case("roll", with_params(params=shifts), np.roll, lambda torch, x, axis, shift: torch.roll(x, shift, axis))
case(
    "diff",
    with_params(params=lambda draw, shape: {"n": draw(st.integers(0, 3)), "axis": an_axis(draw, shape)}, min_dims=1),
    np.diff,
    lambda torch, x, n, axis: torch.diff(x, n, axis),
)


def cuts(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    axis = an_axis(draw, shape)
    n = shape[axis]
    equal = [s for s in (1, 2, 3) if n % s == 0]
    return {"axis": axis, "indices_or_sections": draw(st.sampled_from([*equal, [0], [n // 2], [n // 3, n // 2]]))}


def _torch_split(torch: Any, x: Any, indices_or_sections: Any, axis: int) -> Any:
    return torch.tensor_split(x, indices_or_sections, axis)


case("split", with_params(params=cuts, min_dims=1), np.split, _torch_split)


# ---------------------------------------------------------------------- indexing
@st.composite
def keys(draw: Any) -> tuple[Operands, dict[str, Any]]:
    """An array and an index into it: slices, integers, arrays that repeat entries, masks."""
    shape = draw(shapes(min_dims=1, min_side=1))
    rows = st.lists(st.integers(-shape[0], shape[0] - 1), max_size=4).map(lambda i: np.array(i, np.intp))
    grid = rows.map(lambda i: np.stack([i, i]))
    mask = hnp.arrays(bool, st.sampled_from([shape, shape[:1]]))
    mixed = rows.map(lambda i: (..., i % shape[-1])) if len(shape) > 1 else rows
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    return [draw(arrays(shape))], {"key": draw(st.one_of(st.just(slice(None)), basic, rows, grid, mask, mixed))}


def _torch_getitem(torch: Any, x: Any, key: Any) -> Any:
    """Negative slice steps do not exist there: gather the positions instead."""
    positions = np.arange(x.numel()).reshape(tuple(x.shape))[key]
    return x.reshape(-1)[torch.tensor(np.array(positions).copy())].reshape(np.shape(positions))


case("getitem", keys(), lambda x, key: x[key], _torch_getitem)


def entries(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    axis = an_axis_or_none(draw, shape)
    n = int(np.prod(shape)) if axis is None else shape[axis]
    indices = draw(hnp.arrays(np.intp, hnp.array_shapes(max_dims=2, max_side=3), elements=st.integers(-n, n - 1)))
    return {"axis": axis, "indices": indices}


def _torch_take(torch: Any, x: Any, indices: Any, axis: int | None) -> Any:
    if axis is None:
        x, axis = x.reshape(-1), 0
    flat = torch.tensor(np.mod(indices, x.shape[axis]).ravel())
    axis %= x.ndim
    return torch.index_select(x, axis, flat).reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


case("take", with_params(params=entries, min_side=1), np.take, _torch_take)


def along_axis(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    axis = an_axis(draw, shape) % len(shape)
    picked = (*shape[:axis], draw(st.integers(0, 3)), *shape[axis + 1 :])
    return {"axis": axis, "indices": draw(hnp.arrays(np.intp, picked, elements=st.integers(0, shape[axis] - 1)))}


case(
    "take_along_axis",
    with_params(params=along_axis, min_dims=1, min_side=1),
    np.take_along_axis,
    lambda torch, x, indices, axis: torch.gather(x, axis, torch.tensor(indices)),
)


def orders(draw: Any, shape: Sequence[int]) -> dict[str, Any]:
    return {"axis": an_axis_or_none(draw, shape)}


def _torch_sort(torch: Any, x: Any, axis: int | None) -> Any:
    return torch.sort(x.reshape(-1)).values if axis is None else torch.sort(x, axis).values


case("sort", with_params(apart, params=orders), np.sort, _torch_sort)


@st.composite
def tables(draw: Any) -> tuple[Operands, dict[str, Any]]:
    n, d = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=3))
    indices = draw(hnp.arrays(np.intp, shape, elements=st.integers(0, n - 1)))
    return [draw(arrays((n, d)))], {"indices": indices}


def _torch_embedding(torch: Any, weight: Any, indices: Any) -> Any:
    return torch.nn.functional.embedding(torch.tensor(indices), weight)


case(
    "embedding",
    st.one_of(st.builds(lambda w: ([w], {"indices": np.array([2, 0, 2])}), arrays(SQUARE)), tables()),
    lambda weight, indices: tg.embedding(indices, weight),
    _torch_embedding,
)


@st.composite
def patches(draw: Any) -> tuple[Operands, dict[str, Any]]:
    return [draw(arrays(SQUARE)), draw(arrays(SQUARE)), draw(arrays(SQUARE))], {
        "index": draw(hnp.arrays(np.intp, 3, elements=st.integers(0, 2)))
    }


def _scattered(whole: Any, rows: Any, picked: Any, index: Any) -> Any:
    parts = ((None, 0), (slice(None, None, -1), 0), (Slot(0), 1))
    return scatter([whole, rows, picked, index], shape=SQUARE, parts=parts)


def _torch_scatter(torch: Any, whole: Any, rows: Any, picked: Any, index: Any) -> Any:
    return (whole + rows.flip(0)).index_add(0, torch.tensor(index), picked)


case("scatter", patches(), _scattered, _torch_scatter)

# ---------------------------------------------------------------------- losses, randomness, checkpoints
case(
    "dropout",
    with_params(params=lambda draw, shape: {"p": draw(st.sampled_from([0.0, 0.5])), "seed": draw(st.integers(0, 9))}),
    lambda x, p, seed: tg.dropout(x, p, np.random.default_rng(seed)),
    lambda torch, x, p, seed: x * torch.tensor(tg.dropout(np.ones(tuple(x.shape)), p, np.random.default_rng(seed))),
)


def to_reduce(draw: Any) -> dict[str, Any]:
    return {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}


@st.composite
def classified(draw: Any, reduce: bool) -> tuple[Operands, dict[str, Any]]:
    shape = draw(shapes(min_dims=1, min_side=1))
    targets = draw(hnp.arrays(np.intp, shape[:-1], elements=st.integers(0, shape[-1] - 1)))
    return [draw(arrays(shape)), targets], to_reduce(draw) if reduce else {}


def _torch_cross_entropy(torch: Any, logits: Any, targets: Any, reduction: str = "none") -> Any:
    rows, flat = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    loss = torch.nn.functional.cross_entropy(rows, flat, reduction=reduction)
    return loss.reshape(targets.shape) if reduction == "none" else loss


case("cross_entropy_of_classes", classified(False), tg.ops.losses.cross_entropy_of_classes, _torch_cross_entropy)
case("softmax_cross_entropy", classified(True), tg.softmax_cross_entropy, _torch_cross_entropy)


@st.composite
def paired(draw: Any, domain: Domain, target: Domain, reduce: bool) -> tuple[Operands, dict[str, Any]]:
    shape = draw(shapes(min_side=1))
    return [draw(arrays(shape, domain)), draw(arrays(shape, target))], to_reduce(draw) if reduce else {}


def _torch_binary(torch: Any, x: Any, t: Any, reduction: str = "none") -> Any:
    return torch.nn.functional.binary_cross_entropy_with_logits(x, t, reduction=reduction)


def probability(rng: np.random.Generator, shape: Sequence[int]) -> Any:
    return rng.uniform(0.1, 0.9, size=shape)


case(
    "cross_entropy_of_logits",
    paired(nonzero, probability, reduce=False),
    tg.ops.losses.cross_entropy_of_logits,
    _torch_binary,
)
case(
    "binary_cross_entropy_with_logits",
    paired(nonzero, probability, reduce=True),
    tg.binary_cross_entropy_with_logits,
    _torch_binary,
)
case(
    "squared_error",
    paired(normal, normal, reduce=True),
    tg.squared_error,
    lambda torch, p, t, reduction: torch.nn.functional.mse_loss(p, t, reduction=reduction),
)
case(
    "huber_of",
    unary(between, min_side=1),
    lambda x: tg.ops.losses.huber_of(x, 1.0),
    lambda torch, x: torch.nn.functional.huber_loss(x, torch.zeros_like(x), reduction="none"),
)


@st.composite
def near_and_far(draw: Any) -> tuple[Operands, dict[str, Any]]:
    (target, difference), params = draw(paired(normal, between, reduce=True))
    return [np.array(target + difference), target], params


case(
    "huber",
    near_and_far(),
    lambda p, t, reduction: tg.huber(p, t, delta=1.0, reduction=reduction),
    lambda torch, p, t, reduction: torch.nn.functional.huber_loss(p, t, reduction=reduction),
)
case(
    "checkpoint",
    broadcast(normal, normal),
    lambda a, b: (
        tg.checkpoint(lambda u, v: np.tanh(tg.add(u, 0.0)) * v if isinstance(u, tg.Tensor) else u)(a, b)
        if isinstance(a, tg.Tensor)
        else np.tanh(a) * b
    ),
    lambda torch, a, b: torch.tanh(a) * b,
)

# ---------------------------------------------------------------------- no gradient: plain arrays
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    _short = {"equal": "eq", "not_equal": "ne"}.get(_name, _name)
    case(_name, broadcast(between, between), getattr(np, _name), lambda torch, a, b, n=_short: getattr(torch, n)(a, b))
for _name in ("logical_and", "logical_or", "logical_xor"):
    case(_name, broadcast(between, between), getattr(np, _name), lambda torch, a, b, n=_name: getattr(torch, n)(a, b))
for _name in ("logical_not", "isnan", "isinf", "isfinite", "sign", "floor", "ceil", "trunc"):
    case(_name, unary(between), getattr(np, _name), lambda torch, x, n=_name: getattr(torch, n)(x))
case("within", unary(between), lambda x: tg.ops.ranges.within(x, -9, 9, ""), lambda torch, x: x * 1)
case("rint", unary(between), np.rint, lambda torch, x: torch.round(x))
case("round", unary(between), lambda x: np.round(x, 1), lambda torch, x: torch.round(x, decimals=1))
case("floor_divide", ratio(), np.floor_divide, lambda torch, a, b: torch.floor_divide(a, b))
for _name in ("argmax", "argmin"):
    case(
        _name,
        with_params(apart, params=lambda draw, shape: {"axis": an_axis_or_none(draw, shape)}, min_side=1),
        getattr(np, _name),
        lambda torch, x, axis, n=_name: getattr(torch, n)(x, axis),
    )
case(
    "argsort",
    with_params(apart, params=orders),
    np.argsort,
    lambda torch, x, axis: torch.argsort(x.reshape(-1)) if axis is None else torch.argsort(x, axis),
)

# The other tables import what is above.
import calculus_linalg  # noqa: E402, F401
import calculus_shaping  # noqa: E402, F401
import calculus_statistics  # noqa: E402, F401
