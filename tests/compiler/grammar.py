"""Random programs as a user would write them: the source of a loss function, drawn from a grammar.

Every variable has a type, its axes by name and its dtype, so nearly every program runs. The text is all there is
to a program: it can be printed, run by itself and made shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

FIXED = ("H", "I", "C")
"""Axes that weights may have; T and B are those of the batch."""


class Type(NamedTuple):
    """Axes by name ("1" is an axis of length 1), and "f8", "f4", "i8" or "b1"."""

    axes: tuple[str, ...]
    dtype: str = "f8"

    @property
    def is_float(self) -> bool:
        return self.dtype[0] == "f"


def joined(a: Type, b: Type) -> Type | None:
    """What NumPy makes of both in one elementwise operation."""
    n = max(len(a.axes), len(b.axes))
    left, right = (("1",) * (n - len(x.axes)) + x.axes for x in (a, b))
    axes = []
    for p, q in zip(left, right, strict=True):
        if p != q and "1" not in (p, q):
            return None
        axes.append(q if p == "1" else p)
    return Type(tuple(axes), np.result_type(a.dtype, b.dtype).str[1:])


class Writer:
    """Draws one program; `text` is its source.

    Args:
        seed: what to draw it from.
        small: one loop and few expressions.
    """

    def __init__(self, seed: int, small: bool) -> None:
        self.rng, self.small = np.random.default_rng(seed), small
        self.lines: list[str] = []
        self.indent = 1
        self.pool: dict[str, Type] = {
            "xs": Type(("T", "B", "I")),
            "ids": Type(("T", "B"), "i8"),
            "mask": Type(("T", "B", "1"), "b1"),
        }
        self.sequences: dict[str, Type] = {}  # lists with an entry for each step
        self.params: dict[str, Type] = {}
        self.modules: dict[str, str] = {}
        self.kept: list[Type | None] = []  # what the loops that just ended have put into their lists
        self.time: list[str] = []  # the step numbers of the loops around
        self.named = 0
        sizes = {axis: int(self.rng.integers(1, 5)) for axis in FIXED}
        self.dtype = "f4" if self.chance(0.1) else "f8"
        self._body()
        self.text = self._source(sizes)

    # ------------------------------------------------------------------ drawing
    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one(self, options: Any) -> Any:
        options = list(options)
        return options[int(len(options) * self.rng.random() ** 0.7)]  # later ones more often

    def some(self, most: int) -> int:
        return int(self.rng.integers(0, 2 if self.small else most + 1))

    def pick(self, wanted: Callable[[Type], bool]) -> str | None:
        found = [name for name, kind in self.pool.items() if wanted(kind)]
        return self.one(found) if found else None

    def floats(self, least: int = 0, most: int = 9) -> str | None:
        return self.pick(lambda kind: kind.is_float and least <= len(kind.axes) <= most)

    def name(self, prefix: str) -> str:
        self.named += 1
        return f"{prefix}{self.named}"

    def write(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def let(self, text: str, kind: Type, prefix: str = "v") -> str:
        name = self.name(prefix)
        self.write(f"{name} = {text}")
        self.pool[name] = kind
        return name

    def weight(self, *axes: str) -> str:
        same = [name for name, kind in self.params.items() if kind.axes == axes]
        if same and self.chance(0.4):
            return f'p["{self.one(same)}"]'
        name = self.name("W" if len(axes) > 1 else "b")
        self.params[name] = Type(axes, self.dtype)
        return f'p["{name}"]'

    def shape(self, axes: tuple[str, ...]) -> str:
        return f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"

    # ------------------------------------------------------------------ statements
    def _body(self) -> None:
        if self.chance(0.2) and not self.small:
            self._layer()
        for _ in range(1 if self.small else int(self.rng.integers(1, 4))):
            for _ in range(self.some(2)):
                self.expression()
            self.loop()
        for _ in range(self.some(4)):
            self.expression()
        for _ in range(int(self.rng.integers(1, 3))):
            self.score()

    def _layer(self) -> None:
        kind = self.one(["Linear", "LayerNorm", "RNN", "GRU", "LSTM"])
        name = self.name("net")
        dtype = f'dtype="{self.dtype}"'
        source = self.pick(lambda t: len(t.axes) == 3 and t.axes[0] == "T" and t.axes[2] in FIXED)
        assert source is not None
        size = self.pool[source].axes[2]
        out = Type(("T", "B", "H"))
        if kind == "LayerNorm":
            self.modules[name] = f"tg.nn.LayerNorm({size}, {dtype})"
            self.let(f'p["{name}"]({source})', self.pool[source])
        elif kind == "Linear":
            self.modules[name] = f"tg.nn.Linear({size}, H, rng=1, {dtype})"
            self.let(f'p["{name}"]({source})', out)
        else:
            more = self.one(["", ", bidirectional=True", ", num_layers=2", ", num_layers=2, dropout=0.3"])
            self.modules[name] = f"tg.nn.{kind}({size}, H{more}, rng=1, {dtype})"
            lengths = ", lengths=1 + ids.max(axis=0) % T" if self.chance(0.1) else ""
            y = self.let(f'p["{name}"]({source}{lengths})[0]', out)
            if "bi" in more:
                self.let(f"{y}[..., :H] * {y}[..., H:]", out)

    def loop(self) -> None:
        """A loop over a sequence, with states, delays, truncation, lists and terms of the loss."""
        outside, before = dict(self.pool), dict(self.sequences)
        nested = len(self.time) > 0
        whole = self.pick(lambda t: len(t.axes) > 1 and t.axes[0] == "T" and t.is_float)
        source = self.one(self.sequences) if self.sequences and self.chance(0.5) else whole
        if source is None:
            return
        x, t, reverse = self.name("x"), self.name("t"), self.chance(0.25)
        states = []
        for _ in range(int(self.rng.integers(0 if nested else 1, 3))):
            axes = self.one([("B", "H"), ("B", "H"), ("B", "H"), ("B", "I"), ("H",), ("B", "1")])
            start = self.pick(lambda kind, axes=axes: kind.axes == axes and kind.is_float)  # type: ignore[misc]
            if start is None or self.chance(0.5):
                start = f"np.zeros({self.shape(axes)})" if self.chance(0.6) or "B" in axes else self.weight(*axes)
            state = self.let(start, Type(axes), "h")
            states.append(state)
        delayed = self.name("d") if states and self.chance(0.15) else None
        if delayed:
            self.write(f"{delayed} = {states[0]}")
            self.pool[delayed] = self.pool[states[0]]
        keeps = self.name("list") if self.chance(0.7) or not states else None
        if keeps:
            self.write(f"{keeps} = []")
        scope = self.chance(0.15)
        if scope:
            self.write(f'with tg.scope("{self.name("part")}"):')
            self.indent += 1
        self.write(f"for {t}, {x} in tg.steps({source}{', reverse=True' if reverse else ''}):")
        self.indent += 1
        inside = before.get(source)
        self.pool[x] = inside if inside else Type(self.pool[source].axes[1:], self.pool[source].dtype)
        self.time.append(t)
        self._steps(states, delayed, keeps)
        self.time.pop()
        self.indent -= 2 if scope else 1
        kept = self.kept.pop() if keeps else None
        self.pool = {**outside, **{name: self.pool[name] for name in states}}
        if keeps and kept:
            if reverse:
                self.write(f"{keeps} = {keeps}[::-1]")
            if len(self.time) == 0:
                self.sequences[keeps] = kept
                if self.chance(0.5):
                    self.let(f"{keeps}[{self.one(['0', '-1', 'T // 2'])}]", kept)
            if self.chance(0.6):
                self.let(f"np.stack({keeps})", Type(("T", *kept.axes), kept.dtype))

    def _steps(self, states: list[str], delayed: str | None, keeps: str | None) -> None:
        """The body of a loop."""
        t = self.time[-1]
        if states and self.chance(0.12):
            cut = self.one([f"{states[0]}.detach()", f"tg.truncate({states[0]})", "tensor"])
            if cut == "tensor":
                cut = f"tg.truncate(tg.Tensor({states[0]}) if type({states[0]}) is np.ndarray else {states[0]})"
            self.write(f"if {t} % {self.one([2, 3])} == 0 and type({states[0]}) is tg.Tensor:")
            self.write(f"    {states[0]} = {cut}")
        for _ in range(1 + self.some(4)):
            self.expression()
        if len(self.time) == 1 and not self.small and self.chance(0.12):
            self.loop()
        new = []
        for state in states:
            kind = self.pool[state]
            new.append(self._next_state(state, kind))
        if self.chance(0.25) and states:
            state, now = states[0], new[0]
            m = f"mask[{self.time[0]}]"
            if len(self.pool[state].axes) == 2:
                new[0] = self.let(f"np.where({m}, {now}, {state})", self.pool[state])
        if delayed:
            self.write(f"{delayed}, {states[0]} = {states[0]}, {new[0]}")
            states, new = states[1:], new[1:]
        for state, now in zip(states, new, strict=True):
            self.write(f"{state} = {now}")
        if keeps:
            entry = self.floats(1, 2)
            if entry is not None:
                self.write(f"{keeps}.append({entry})")
            self.kept.append(None if entry is None else self.pool[entry])
        if self.chance(0.4):
            if self.chance(0.3):
                self.write(f"if {self.one([f'{t} % 2 == 0', f'{t} > 0', f'{t} == T - 1'])}:")
                self.indent += 1
                outside = dict(self.pool)
                self.score()
                self.pool = outside
                self.indent -= 1
            else:
                self.score()

    def _next_state(self, state: str, kind: Type) -> str:
        """A new value for a state, of its axes, bounded."""
        axis = kind.axes[-1]
        terms = []
        if axis in FIXED:
            x = self.pick(lambda t: t.is_float and len(t.axes) == len(kind.axes) and t.axes[:-1] == kind.axes[:-1]
                          and t.axes[-1] in FIXED)  # fmt: skip
            if x is not None:
                terms.append(f"{x} @ {self.weight(self.pool[x].axes[-1], axis)}")
            terms.append(f"{state} @ {self.weight(axis, axis)}")
            if self.chance(0.5):
                terms.append(self.weight(axis))
        other = self.pick(lambda t: t.is_float and joined(t, kind) is not None and joined(t, kind).axes == kind.axes)  # type: ignore[union-attr]
        if other is not None and (self.chance(0.5) or not terms):
            terms.append(other)
        self.rng.shuffle(terms)
        new = self.let(f"np.tanh({' + '.join(terms)})", kind)
        if self.chance(0.3):
            gate = self.one(["tg.sigmoid({0})", "0.9", "tg.sigmoid({1})"]).format(new, state)
            how = self.one(["{g} * {h} + (1 - {g}) * {n}", "(1 - {g}) * {h} + {g} * {n}", "{h} * {g} + {n}"])
            new = self.let(how.format(g=gate, h=state, n=new), kind)
        return new

    def score(self) -> None:
        """Add a term to the loss."""
        kinds = ["mean", "mean", "square", "sum", "squared_error"]
        scores = self.pick(lambda t: t.is_float and t.axes == ("B", "C"))
        if scores and self.time:
            kinds += ["classes", "classes"]
        everything = self.pick(lambda t: t.is_float and t.axes == ("T", "B", "C"))
        if everything:
            kinds += ["all classes"]
        kind, v = self.one(kinds), self.floats()
        if v is None:
            return
        w = self.pick(lambda t: t == self.pool[v])
        reduction = self.one(['reduction="sum"', 'reduction="mean"'])
        self.write("loss = loss + " + {
            "mean": f"{v}.mean()",
            "sum": f"0.1 * {v}.sum()",
            "square": f"({v} * {w}).mean()",
            "squared_error": f"tg.squared_error({v}, {w} * 0.3, {reduction})",
            "classes": f"tg.softmax_cross_entropy({scores}, ids[{self.time[0] if self.time else 0}] % C, {reduction})",
            "all classes": f"tg.softmax_cross_entropy({everything}, ids % C, {reduction})",
        }[kind])  # fmt: skip

    # ------------------------------------------------------------------ expressions
    def expression(self) -> None:
        """One more variable, if what was drawn finds operands."""
        self.one(
            [
                *[self._unary] * 4,
                *[self._binary] * 5,
                *[self._product] * 4,
                *[self._reduce] * 3,
                *[self._view] * 4,
                *[self._split] * 2,
                *[self._cast] * 2,
                *[self._gather] * 2,
                *[self._mask] * 2,
                self._attention,
                self._of_past,
                self._constant,
                self._drop,
            ][:: 1 if self.chance(0.5) else -1]
        )()

    def _unary(self) -> None:
        if (a := self.floats()) is not None:
            text = self.one([
                "np.tanh({})", "tg.sigmoid({})", "np.exp(-{0} * {0})", "np.sqrt({0} * {0} + 1.0)", "np.square({})",
                "tg.softplus({})", "np.sin({})", "1 - {}", "-{}", "0.9 * {}", "{} / 1.7", "2.0 - {0} * {0}", "{} ** 2",
                "1 / (1.5 + np.tanh({}))", "np.abs({} + 0.01)", "tg.relu({} + 0.02)", "np.clip({}, -0.7, 0.8)",
                "tg.silu({})", "np.log({0} * {0} + 0.5)", "{0} + {0}", "np.float32(0.5) * {}", "tg.leaky_relu({})",
                "np.expm1(np.tanh({}))", "{0} * np.tanh({0})",
            ])  # fmt: skip
            self.let(text.format(a), self.pool[a])

    def _binary(self) -> None:
        a = self.floats()
        if a is None:
            return
        b = self.pick(lambda t: t.is_float and joined(self.pool[a], t) is not None)
        assert b is not None
        kind = joined(self.pool[a], self.pool[b])
        assert kind is not None
        text = self.one([
            "{} + {}", "{} - {}", "{} * {}", "{} / (1.5 + np.tanh({}))", "np.maximum({}, {} + 0.03)",
            "np.minimum({}, {} - 0.03)", "np.where({0} > {1} + 0.01, {0}, {1} * 0.5)", "np.logaddexp({}, {})",
            "{0} * {1} + {0}", "{0} * 0.7 + {1} * 0.3", "np.tanh({} + {})", "tg.sigmoid({}) * {}",
        ])  # fmt: skip
        self.let(text.format(a, b), kind)

    def _product(self) -> None:
        a = self.pick(lambda t: t.is_float and len(t.axes) > 0 and t.axes[-1] in FIXED)
        if a is None:
            return
        *lead, axis = self.pool[a].axes
        to = self.one(FIXED)
        W = self.weight(axis, to)
        options = [f"{a} @ {W}", f"{a} @ {W}", f"np.tensordot({a}, {W}, axes=1)", f"np.dot({a}, {W})",
                   f'np.einsum("...i,ij->...j", {a}, {W})', f"({a} @ {W} + {self.weight(to)}) / 2"]  # fmt: skip
        kind = Type((*lead, to))
        if axis == to:
            options.append(f"{a} @ {W}.T")
        if len(lead) == 1 and self.chance(0.2):
            b = self.pick(lambda t: t.is_float and t.axes == self.pool[a].axes)
            self.let(f"np.tanh({a} @ {b}.T) @ {a}", self.pool[a])
            return
        self.let(self.one(options), kind)

    def _reduce(self) -> None:
        a = self.floats(1)
        if a is None:
            return
        axes = self.pool[a].axes
        i = int(self.rng.integers(len(axes)))
        axis = i if self.chance(0.5) else i - len(axes)
        keep = self.chance(0.5)
        rest = (*axes[:i], *(["1"] if keep else []), *axes[i + 1 :])
        text = self.one([
            "{}.sum(axis={}{})", "{}.mean(axis={}{})", "{}.max(axis={}{})", "tg.logsumexp({}, axis={}{})",
            "np.sqrt({}.var(axis={}{}) + 0.1)", "np.prod(np.tanh({}) + 1.1, axis={}{})",
        ])  # fmt: skip
        if self.chance(0.4):
            same = self.one(["tg.softmax({}, axis={})", "tg.log_softmax({}, axis={})", "np.cumsum({}, axis={}) / 9",
                             "np.flip({}, axis={})", "np.sort({}, axis={})", "np.roll({}, 1, axis={})"])  # fmt: skip
            self.let(same.format(a, axis), self.pool[a])
        else:
            self.let(text.format(a, axis, ", keepdims=True" if keep else ""), Type(rest, self.pool[a].dtype))

    def _view(self) -> None:
        a = self.floats(1)
        if a is None:
            return
        axes, dtype = self.pool[a]
        n = len(axes)
        options: list[tuple[str, tuple[str, ...]]] = [
            (f"{a}[..., ::-1]", axes), (f"np.flip({a})", axes), (f"{a}[..., None]", (*axes, "1")),
            (f"np.expand_dims({a}, 0)", ("1", *axes)), (f"{a}.reshape({self.shape(axes)})", axes),
            (f"np.concatenate([{a}, -{a}], axis=-1)[..., {axes[-1]} :]", axes), (f"{a}[...]", axes),
            (f"np.tile({a}, 2)[..., : {axes[-1]}]", axes), (f"np.repeat({a}, 2, axis=-1)[..., ::2]", axes),
            (f"np.stack([{a}, {a} * 2], axis={self.one([0, -1])}).sum(axis={self.one([0, -1])})", ()),
            (f"np.broadcast_to({a}, (2, *{a}.shape))[1]", axes), (f"np.pad({a}, 1)[{', '.join(['1:-1'] * n)}]", axes),
        ]  # fmt: skip
        options[9] = (f"np.stack([{a}, {a} * 2], axis=0).mean(axis=0)", axes)
        if n > 1:
            i, j = (int(k) for k in self.rng.choice(n, 2, replace=False))
            swapped = list(axes)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            moved = [*axes[1:], axes[0]]
            options += [
                (f"{a}.swapaxes({i}, {j})", tuple(swapped)), (f"np.moveaxis({a}, 0, -1)", tuple(moved)),
                (f"{a}.T", axes[::-1]), (f"{a}.reshape(-1, {axes[-1]}).reshape({self.shape(axes)})", axes),
            ]  # fmt: skip
            if axes[-1] in FIXED and axes[-2] in FIXED:
                options.append((f"np.tril({a})", axes))
        if "1" in axes:
            i = axes.index("1")
            options += [(f"np.squeeze({a}, axis={i})", (*axes[:i], *axes[i + 1 :]))] * 3
        if axes[0] == "T":
            options += [(f"{a}[{self.one(['0', '-1', 'T // 2'])}]", axes[1:]), (f"{a}[::-1]", axes)] * 2
        text, kind = self.one(options)
        if len(kind) < 5:
            self.let(text, Type(tuple(kind), dtype))

    def _split(self) -> None:
        """Gates: one product, cut into parts."""
        a = self.pick(lambda t: t.is_float and 0 < len(t.axes) < 3 and t.axes[-1] in FIXED)
        if a is None:
            return
        axis, to = self.pool[a].axes[-1], self.one(FIXED)
        W, kind = self.name("G"), Type((*self.pool[a].axes[:-1], to))
        n = int(self.rng.integers(2, 5))
        self.params[W] = Type((axis, f"{n} * {to}"), self.dtype)
        z = self.name("z")
        self.write(f'{z} = {a} @ p["{W}"]')
        if self.chance(0.5):
            parts = [self.name("g") for _ in range(n)]
            self.write(f"{', '.join(parts)} = np.split({z}, {n}, axis=-1)")
            self.pool.update(dict.fromkeys(parts, kind))
        else:
            for k in range(n):
                self.let(f"tg.sigmoid({z}[..., {k} * {to} : {k + 1} * {to}])", kind, "g")

    def _cast(self) -> None:
        a = self.pick(lambda t: True)
        assert a is not None
        kind = self.pool[a]
        if kind.dtype == "b1":
            b = self.pick(lambda t: t.dtype == "b1" and joined(t, kind) is not None) or a
            both = joined(kind, self.pool[b])
            assert both is not None
            text, dtype = self.one([
                ("{}.astype(float)", "f8"), ("{}.astype(float) + {}.astype(float)", "f8"), ("{} * 0.5", "f8"),
                ("{}.astype(float) - 2.0 * {}.astype(float)", "f8"), ("~{}", "b1"), ("{} & {}", "b1"),
                ("{0} | ~{1}", "b1"), ("{}.astype(np.uint8) - {}.astype(np.uint8) * 0.5", "f8"),
                ("{}.astype(np.float32)", "f4"),
            ])  # fmt: skip
            self.let(text.format(a, b), Type(both.axes if "{}" in text[4:] or "{1}" in text else kind.axes, dtype))
        elif kind.dtype == "i8":
            text, dtype = self.one([("{} * 0.1", "f8"), ("{} + 1", "i8"), ("({} * 2 + 1) % C", "i8"),
                                    ("{}.astype(np.float32)", "f4"), ("{} % 2 == 0", "b1")])  # fmt: skip
            self.let(text.format(a), Type(kind.axes, dtype))
        else:
            text, dtype = self.one([("{}.astype(np.float32)", "f4"), ("{}.astype(np.float64)", "f8"),
                                    ("{} > 0.05", "b1"), ("{} * np.float64(0.5)", "f8")])  # fmt: skip
            self.let(text.format(a), Type(kind.axes, dtype))

    def _gather(self) -> None:
        rows = f"ids[{self.time[0]}]" if self.time else "ids"
        lead = ("B",) if self.time else ("T", "B")
        other = self.pick(lambda t: t.dtype == "i8")
        if other is not None and self.chance(0.4):
            rows, lead = other, self.pool[other].axes
        rows = f"{rows} % C"
        to = self.one(FIXED)
        scores = self.pick(lambda t: t.is_float and t.axes == (*lead, "C"))
        options = [(f"{self.weight('C', to)}[{rows}]", (*lead, to)),
                   (f"np.take({self.weight('C', to)}, {rows}, axis=0)", (*lead, to)),
                   (f"tg.embedding({rows}, {self.weight('C', to)})", (*lead, to)),
                   (f"{self.weight('C')}[{rows}]", lead)]  # fmt: skip
        if scores is not None:
            options.append((f"np.take_along_axis({scores}, ({rows})[..., None], axis=-1)", (*lead, "1")))
            if lead == ("B",):
                options.append((f"{scores}[np.arange(B), {rows}]", lead))
        text, axes = self.one(options)
        self.let(text, Type(axes))

    def _mask(self) -> None:
        m = f"mask[{self.time[0]}]" if self.time else "mask"
        kind = Type(("B", "1") if self.time else ("T", "B", "1"), "b1")
        other = self.pick(lambda t: t.dtype == "b1")
        if other is not None and self.chance(0.4):
            m, kind = other, self.pool[other]
        a = self.pick(lambda t: t.is_float and joined(t, kind) is not None)
        if a is None:
            return
        axes = joined(self.pool[a], kind).axes  # type: ignore[union-attr]
        b = self.pick(lambda t: t.is_float and joined(t, Type(axes)) is not None)
        both = joined(Type(axes), self.pool[b]) if b is not None else None
        if both is not None and self.chance(0.5):
            self.let(f"np.where({m}, {a}, {b})", both)
        else:
            text = self.one(["np.where({m}, {a}, 0.0)", "{a} * {m}", "{m} * {a}", "np.where({m}, 0.3, {a})",
                             "{a} * {m}.astype(float)", "{a} + np.logical_not({m})"])  # fmt: skip
            self.let(text.format(m=m, a=a), Type(axes))

    def _attention(self) -> None:
        q = self.pick(lambda t: t.is_float and len(t.axes) == 2 and t.axes[0] == "B" and t.axes[1] in FIXED)
        if q is None:
            return
        keys = self.pick(lambda t: t.is_float and t.axes == ("T", *self.pool[q].axes))
        if keys is None:
            return
        score = self.one([f"({keys} * {q}).sum(axis=-1)", f'np.einsum("tbd,bd->tb", {keys}, {q})'])
        a = self.let(f"tg.softmax({score}, axis=0)", Type(("T", "B")), "a")
        read = self.one([f"({a}[..., None] * {keys}).sum(axis=0)", f'np.einsum("tb,tbd->bd", {a}, {keys})'])
        self.let(read, self.pool[q], "c")

    def _of_past(self) -> None:
        """What an earlier loop kept of the same step, or of a fixed one."""
        if self.sequences:
            name = self.one(self.sequences)
            at = self.one(["0", "-1", *self.time[:1] * 3])
            self.let(f"{name}[{at}]", self.sequences[name])

    def _constant(self) -> None:
        axes = self.one([("B", "H"), ("H",), ("B", "C"), ("B", "I"), ()])
        if self.chance(0.3):
            self.let("np.arange(H) * 0.1", Type(("H",)), "k")
        elif self.chance(0.3):
            self.let(f"{self.weight('H', 'H')} @ np.eye(H)", Type(("H", "H")))
        else:
            text = self.one(["np.zeros({})", "np.ones({})", "np.full({}, 0.3)", "tg.Tensor(np.ones({}))"])
            self.let(text.format(self.shape(axes)), Type(axes), "k")

    def _drop(self) -> None:
        if (a := self.floats(1)) is not None and self.chance(0.3):
            self.let(f"tg.dropout({a} * 1.0, 0.3, rng)", self.pool[a])

    # ------------------------------------------------------------------ the text
    def _source(self, sizes: dict[str, int]) -> str:
        extra = "loss"
        if self.chance(0.4):
            found = [name for name in self.pool if name[0] in "vhac" and name[1:].isdigit()]
            chosen = [self.one(found) for _ in range(2)] if found else []
            listed = [self.one(self.sequences)] if self.sequences and self.chance(0.3) else []
            extra = "loss, {" + ", ".join(f'"{i}": as_tensor({v})' for i, v in enumerate([*chosen, *listed])) + "}"
        own = [f'"{name}": rng.standard_normal({self.shape(kind.axes)}).astype("{kind.dtype}") / 2'
               for name, kind in self.params.items()]  # fmt: skip
        own.append(f'"unused": rng.standard_normal(2).astype("{self.dtype}")')
        modules = [f'"{name}": {text}' for name, text in self.modules.items()]
        return "\n".join([
            "import numpy as np", "import tinygrad_rnn as tg", "",
            f"{', '.join(sizes)} = {', '.join(map(str, sizes.values()))}",
            f"MODULES = {{{', '.join(modules)}}}", "", "",
            "def as_tensor(v):",
            "    if type(v) is list:", "        return [as_tensor(x) for x in v]",
            "    return v if type(v) is tg.Tensor else tg.Tensor(v)", "", "",
            "def params(rng):", "    return {", *[f"        {line}," for line in own], "    }", "", "",
            "def loss_fn(p, xs, ids, mask, rng):", "    T, B = xs.shape[:2]", "    loss = 0.0", *self.lines,
            "    loss = loss + (p[\"unused\"] * 0.0).sum()" if self.chance(0.9) else "", f"    return {extra}", "",
        ])  # fmt: skip


def program(seed: int, small: bool = False) -> str:
    """The source of the program of a seed: `loss_fn(p, xs, ids, mask, rng)`, `params(rng)` and `MODULES`."""
    return Writer(seed, small).text
