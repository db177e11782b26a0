"""Functions: tanh, sigmoid, exp, log and the rest of the elementwise vocabulary on vectors.

Each is within 2.5 units in the last place of the exact value; nan stays nan, and infinities and the sign of zero
are NumPy's. Where the processor has no fused multiply and add, exp and what builds on it may be one unit worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import factorial

from .writer import Function


def _polynomial(f: Function, x: str, coefficients: Sequence[float]) -> str:
    """Horner's rule, from the highest power."""
    return reduce(lambda y, c: f.fma(y, x, c), map(f.constant, coefficients))


def smaller(f: Function, a: str, b: str) -> str:
    """b where it is smaller, else a: a nan in a stays."""
    return f.select(f.compare("ogt", a, b), b, a)


def larger(f: Function, a: str, b: str) -> str:
    """b where it is larger, else a: a nan in a stays."""
    return f.select(f.compare("olt", a, b), b, a)


def maximum(f: Function, a: str, b: str) -> str:
    """As np.maximum: nan if either is."""
    return f.select(f.compare("uno", b, b), b, larger(f, a, b))


def minimum(f: Function, a: str, b: str) -> str:
    """As np.minimum: nan if either is."""
    return f.select(f.compare("uno", b, b), b, smaller(f, a, b))


def _exp_parts(f: Function, x: str) -> tuple[str, str]:
    """exp(x) = 2**k (1 + q) with |q| < 0.42: the k as whole numbers, and q.

    Adding 1.5 * 2**23 (2**52) rounds to a whole number, which then stands in the low bits.
    """
    single = f.vector.single
    shift = 1.5 * 2.0 ** (23 if single else 52)
    moved = f.fma(x, f.constant(1.4426950408889634), f.constant(shift))
    n = f.binary("fsub", moved, f.constant(shift))
    k = f.whole("sub", f.cast(moved, True), 0x4B400000 if single else 0x4338000000000000)
    # log(2) in two parts; n times the first is exact
    high, low = (0.693359375, -2.12194440e-4) if single else (6.93147180369123816490e-01, 1.90821492927058770002e-10)
    r = f.fma(n, f.constant(-low), f.fma(n, f.constant(-high), x))
    # (exp(r) - 1 - r) / r**2 on |r| <= log(2) / 2, by its series
    p = _polynomial(f, r, [1 / factorial(i) for i in range(7 if single else 13, 1, -1)])
    return k, f.fma(f.binary("fmul", r, r), p, r)


def _power_of_two(f: Function, k: str) -> str:
    """2.0**k for whole numbers k within the range of exponents."""
    bias, mantissa = (127, 23) if f.vector.single else (1023, 52)
    return f.cast(f.whole("shl", f.whole("add", k, bias), mantissa), False)


def exp(f: Function, x: str) -> str:
    limits = (-104.0, 89.0) if f.vector.single else (-746.0, 710.0)
    x = smaller(f, larger(f, x, f.constant(limits[0])), f.constant(limits[1]))
    k, q = _exp_parts(f, x)
    half = f.whole("ashr", k, 1)  # in two factors, each of which is a number when 2**k is none
    rest = f.op(f"sub {f.vector.whole} {k}, {half}")
    a = _power_of_two(f, half)
    return f.binary("fmul", f.fma(a, q, a), _power_of_two(f, rest))


def sigmoid(f: Function, x: str) -> str:
    """e / (e + 1) with e = exp(min(x, 45)): as NumPy's program writes it."""
    e = exp(f, smaller(f, x, f.constant(45.0)))
    return f.binary("fdiv", e, f.binary("fadd", e, f.constant(1.0)))


def tanh(f: Function, x: str) -> str:
    """-m / (m + 2) with m = exp(-2 |x|) - 1, and the sign of x."""
    a = smaller(f, f.native("fabs", x), f.constant(10.0 if f.vector.single else 22.0))
    k, q = _exp_parts(f, f.binary("fmul", a, f.constant(-2.0)))
    s = _power_of_two(f, k)
    m = f.fma(s, q, f.binary("fsub", s, f.constant(1.0)))
    y = f.binary("fdiv", m, f.binary("fadd", m, f.constant(2.0)))
    return f.native("copysign", y, x)


def log(f: Function, x: str) -> str:
    """k log(2) + log(1 + g), by the series in s = g / (2 + g) (W. Cody and W. Waite, 1980; fdlibm's coefficients)."""
    single = f.vector.single
    bias, mantissa = (127, 23) if single else (1023, 52)
    tiny = f.compare("olt", x, f.constant(2.0 ** (1 - bias)))
    scaled = f.select(tiny, f.binary("fmul", x, f.constant(2.0 ** (mantissa + 1))), x)
    bits = f.cast(scaled, True)
    # the mantissa from sqrt(1/2) to sqrt(2): taking the bits of sqrt(1/2) off carries into the exponent
    root = 0x3F3504F3 if single else 0x3FE6A09E667F3BCD
    off = f.whole("sub", bits, root)
    k = f.whole("ashr", off, mantissa)
    kept = f.whole("add", f.whole("and", off, (1 << mantissa) - 1), root)
    g = f.binary("fsub", f.cast(kept, False), f.constant(1.0))
    n = f.op(f"sitofp {f.vector.whole} {k} to {f.vector.type}")
    n = f.binary("fsub", n, f.select(tiny, f.constant(mantissa + 1.0), f.constant(0.0)))
    s = f.binary("fdiv", g, f.binary("fadd", g, f.constant(2.0)))
    z = f.binary("fmul", s, s)
    coefficients = [0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693] if single else [
        1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01,
        2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01,
    ]  # fmt: skip
    r = f.binary("fmul", z, _polynomial(f, z, coefficients))
    half = f.binary("fmul", f.binary("fmul", g, g), f.constant(0.5))
    high, low = (0.693359375, -2.12194440e-4) if single else (6.93147180369123816490e-01, 1.90821492927058770002e-10)
    y = f.fma(n, f.constant(low), f.binary("fmul", s, f.binary("fadd", half, r)))
    y = f.binary("fsub", g, f.binary("fsub", half, y))
    y = f.fma(n, f.constant(high), y)
    infinity, zero = f.constant(float("inf")), f.constant(0.0)
    y = f.select(f.compare("oeq", x, infinity), x, y)
    y = f.select(f.compare("oeq", x, zero), f.constant(-float("inf")), y)
    y = f.select(f.compare("olt", x, zero), f.constant(float("nan")), y)
    return f.select(f.compare("uno", x, x), x, y)


ELEMENTWISE: dict[str, Callable[..., str]] = {
    "add": lambda f, a, b: f.binary("fadd", a, b),
    "subtract": lambda f, a, b: f.binary("fsub", a, b),
    "multiply": lambda f, a, b: f.binary("fmul", a, b),
    "divide": lambda f, a, b: f.binary("fdiv", a, b),
    "negative": lambda f, a: f.negative(a),
    "positive": lambda f, a: a,
    "abs": lambda f, a: f.native("fabs", a),
    "square": lambda f, a: f.binary("fmul", a, a),
    "sqrt": lambda f, a: f.native("sqrt", a),
    "reciprocal": lambda f, a: f.binary("fdiv", f.constant(1.0), a),
    "maximum": maximum,
    "minimum": minimum,
    "relu": lambda f, a: maximum(f, a, f.constant(0.0)),
    "exp": exp,
    "log": log,
    "tanh": tanh,
    "sigmoid": sigmoid,
}
"""How each operation of the table of calculus is written, by its name."""
