"""Writer: functions in LLVM's language, with vectors as one writes them; no optimiser has to find them.

A value is its name in the text. An index is the name of one, or an int that is known while writing, so that
sums and products with it vanish.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...escape import comment
from .isa import Vector

Index = int | str


class Module:
    """The functions of a program, and the intrinsics that they call."""

    def __init__(self, vector: Vector) -> None:
        self.vector = vector
        self.declared: set[str] = set()
        self.functions: list[str] = []
        self._zeros = 0

    def zeros(self, n: int) -> str:
        """Memory of at least n zeros."""
        self._zeros = max(n, self._zeros)
        return "@zeros"

    @property
    def text(self) -> str:
        zeros = f"@zeros = internal constant [{self._zeros} x {self.vector.number}] zeroinitializer"
        return "\n".join([*sorted(self.declared), *([zeros] if self._zeros else []), *self.functions, ""])


class Function:
    """One function without a result, line by line; it is added to its module by `close`.

    Args:
        module: where it belongs.
        name: its name.
        arguments: type and name of each, such as "ptr %a".
        inner: whether only this module calls it.
    """

    def __init__(self, module: Module, name: str, arguments: Sequence[str], inner: bool = False) -> None:
        self.module, self.vector = module, module.vector
        self.count = 0
        self.block = "entry"
        linkage, attributes = ("internal ", " noinline") if inner else ("", "")
        self.first = [f"define {linkage}void @{name}({', '.join(arguments)}){attributes} {{", "entry:"]
        self.lines: list[str] = []

    def close(self) -> None:
        self.module.functions.append("\n".join([*self.first, *self.lines, "  ret void", "}"]))

    @contextmanager
    def early(self) -> Iterator[None]:
        """What is written in the block comes first in the function, so that every later line may use it."""
        lines, self.lines = self.lines, self.first
        yield
        self.lines = lines

    def note(self, text: str) -> None:
        """A comment; `text` may come from anybody."""
        self.lines.append(f"  ; {comment(text)}")

    def op(self, text: str) -> str:
        """An instruction with a result; gives its name."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def call(self, name: str, arguments: Sequence[str]) -> None:
        self.lines.append(f"  call void @{name}({', '.join(arguments)})")

    def intrinsic(self, name: str, result: str, types: Sequence[str], values: Sequence[str]) -> str:
        """Call one of LLVM's own functions."""
        self.module.declared.add(f"declare {result} @llvm.{name}({', '.join(types)})")
        arguments = ", ".join(f"{t} {v}" for t, v in zip(types, values, strict=True))
        if result == "void":
            self.lines.append(f"  call void @llvm.{name}({arguments})")
            return ""
        return self.op(f"call {result} @llvm.{name}({arguments})")

    # ------------------------------------------------------------------ indices and pointers
    def add(self, a: Index, b: Index) -> Index:
        return a if b == 0 else b if a == 0 else self._folded(operator.add, "add", a, b)

    def subtract(self, a: Index, b: Index) -> Index:
        return a if b == 0 else self._folded(operator.sub, "sub", a, b)

    def multiply(self, a: Index, b: Index) -> Index:
        return 0 if 0 in (a, b) else a if b == 1 else b if a == 1 else self._folded(operator.mul, "mul", a, b)

    def _folded(self, known: Callable[[int, int], int], word: str, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return known(a, b)
        return self.op(f"{word} nsw i64 {a}, {b}")

    def least(self, a: Index, b: Index) -> Index:
        return self.op(f"select i1 {self.op(f'icmp slt i64 {a}, {b}')}, i64 {a}, i64 {b}")

    def at(self, pointer: str, *terms: Index | tuple[Index, Index]) -> str:
        """The address of an entry: `pointer` moved by the sum of the terms, each an index or index times stride."""
        total: Index = 0
        for term in terms:
            total = self.add(total, self.multiply(*term) if isinstance(term, tuple) else term)
        if total == 0:
            return pointer
        return self.op(f"getelementptr {self.vector.number}, ptr {pointer}, i64 {total}")

    def entry(self, of: str, i: Index, kind: str = "ptr") -> str:
        """Entry i, of eight bytes each, of a table of addresses or whole numbers, or of an object of Python's."""
        return self.op(f"load {kind}, ptr {self.op(f'getelementptr i64, ptr {of}, i64 {i}')}, align 8")

    # ------------------------------------------------------------------ memory
    def mask(self, n: int) -> str:
        """Flags of which the first n are set."""
        return f"<{', '.join(f'i1 {int(i < n)}' for i in range(self.vector.lanes))}>"

    def load(self, pointer: str, n: int | None = None) -> str:
        """A vector, or its first n numbers and zeros."""
        v = self.vector
        if n is None or n == v.lanes:
            return self.op(f"load {v.type}, ptr {pointer}, align {v.size}")
        values = [pointer, str(v.size), self.mask(n), "zeroinitializer"]
        return self.intrinsic(f"masked.load.{v.suffix}.p0", v.type, ["ptr", "i32", v.flags, v.type], values)

    def store(self, value: str, pointer: str, n: int | None = None) -> None:
        """Write a vector, or its first n numbers."""
        v = self.vector
        if n is None or n == v.lanes:
            self.lines.append(f"  store {v.type} {value}, ptr {pointer}, align {v.size}")
        else:
            values = [value, pointer, str(v.size), self.mask(n)]
            self.intrinsic(f"masked.store.{v.suffix}.p0", "void", [v.type, "ptr", "i32", v.flags], values)

    def pointers(self, pointer: str, stride: Index) -> str:
        """The addresses of as many numbers as a vector has, each so far from the one before."""
        lanes = self.vector.lanes
        offsets = f"<{lanes} x i64> <{', '.join(f'i64 {i * int(stride)}' for i in range(lanes))}>"
        return self.op(f"getelementptr {self.vector.number}, ptr {pointer}, {offsets}")

    def gather(self, pointers: str, j: Index, n: int | None) -> str:
        """The numbers j further on than those addresses, or the first n of them and zeros."""
        v = self.vector
        at = self.op(f"getelementptr {v.number}, <{v.lanes} x ptr> {pointers}, i64 {j}")
        types = [f"<{v.lanes} x ptr>", "i32", v.flags, v.type]
        values = [at, str(v.size), self.mask(v.lanes if n is None else n), "zeroinitializer"]
        return self.intrinsic(f"masked.gather.{v.suffix}.v{v.lanes}p0", v.type, types, values)

    def broadcast(self, pointer: str) -> str:
        """The number at an address in every lane."""
        return self.splat(self.op(f"load {self.vector.number}, ptr {pointer}, align {self.vector.size}"))

    def splat(self, number: str) -> str:
        """A number in every lane."""
        v = self.vector
        first = self.op(f"insertelement {v.type} poison, {v.number} {number}, i64 0")
        return self.op(f"shufflevector {v.type} {first}, {v.type} poison, <{v.lanes} x i32> zeroinitializer")

    # ------------------------------------------------------------------ vectors
    def constant(self, x: float) -> str:
        """The number x in every lane; every bit of it counts, the sign of zero too."""
        if self.vector.single:
            x = struct.unpack("<f", struct.pack("<f", x))[0]
        return f"splat ({self.vector.number} 0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X})"

    def binary(self, word: str, a: str, b: str) -> str:
        """fadd, fsub, fmul or fdiv."""
        return self.op(f"{word} {self.vector.type} {a}, {b}")

    def fma(self, a: str, b: str, c: str) -> str:
        """a * b + c, rounded once where the processor can."""
        t = self.vector.type
        return self.intrinsic(f"fmuladd.{self.vector.suffix}", t, [t, t, t], [a, b, c])

    def negative(self, a: str) -> str:
        return self.op(f"fneg {self.vector.type} {a}")

    def native(self, name: str, *values: str) -> str:
        """A function that processors have themselves, such as fabs, sqrt or copysign."""
        t = self.vector.type
        return self.intrinsic(f"{name}.{self.vector.suffix}", t, [t] * len(values), values)

    def compare(self, how: str, a: str, b: str) -> str:
        """Flags of a comparison: ogt, olt, une, uno and so on, in LLVM's words."""
        return self.op(f"fcmp {how} {self.vector.type} {a}, {b}")

    def select(self, flags: str, a: str, b: str) -> str:
        """a where the flags are set, else b."""
        t = self.vector.type
        return self.op(f"select {self.vector.flags} {flags}, {t} {a}, {t} {b}")

    def cast(self, value: str, to_whole: bool) -> str:
        """The same bits as whole numbers, or as floating ones."""
        a, b = (self.vector.type, self.vector.whole) if to_whole else (self.vector.whole, self.vector.type)
        return self.op(f"bitcast {a} {value} to {b}")

    def whole(self, word: str, value: str, n: int) -> str:
        """An instruction on a vector of whole numbers and one number: add, sub, shl, ashr, lshr, and, or."""
        return self.op(f"{word} {self.vector.whole} {value}, splat ({self.vector.bits} {n})")

    # ------------------------------------------------------------------ control
    @contextmanager
    def loop(
        self, first: Index, end: Index, step: int = 1, carried: list[str] | None = None, some: bool = False
    ) -> Iterator[Index]:
        """`for i in range(first, end, step)`; `some` says that it runs at least once, as one that carries must.

        The values in the list `carried` are those of the turn before; the body puts those of its own turn in their
        places, and there they are after the loop.
        """
        known = isinstance(first, int) and isinstance(end, int)
        if known and first < end <= first + step:  # type: ignore[operator]
            yield first
            return
        self.count += 1
        label, i, before = f"loop{self.count}", f"%i{self.count}", self.block
        carried = [] if carried is None else carried
        begin = list(carried)
        carried[:] = now = [f"%c{self.count}_{k}" for k in range(len(carried))]
        if some or (known and first < end):  # type: ignore[operator]
            self.lines.append(f"  br label %{label}")
        else:
            assert not carried, "a loop that may be empty carries nothing"
            more = self.op(f"icmp slt i64 {first}, {end}")
            self.lines.append(f"  br i1 {more}, label %{label}, label %{label}_end")
        self.lines.append(f"{label}:")
        at = len(self.lines)
        self.block = label
        yield i
        following = self.add(i, step)
        again = self.op(f"icmp slt i64 {following}, {end}")
        latch = self.block
        self.lines += [f"  br i1 {again}, label %{label}, label %{label}_end", f"{label}_end:"]
        self.block = f"{label}_end"
        phis = [
            ("i64", i, first, following),
            *((self.vector.type, *each) for each in zip(now, begin, carried, strict=True)),
        ]
        self.lines[at:at] = [f"  {name} = phi {kind} [{x}, %{before}], [{y}, %{latch}]" for kind, name, x, y in phis]

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """The body runs if the flag is set."""
        self.count += 1
        label = f"if{self.count}"
        self.lines += [f"  br i1 {condition}, label %{label}, label %{label}_end", f"{label}:"]
        self.block = label
        yield
        self.lines += [f"  br label %{label}_end", f"{label}_end:"]
        self.block = f"{label}_end"

    def columns(self, n: int) -> Iterator[tuple[Index, int | None]]:
        """The vectors of n columns: the first column of each and, for the last, how many if not all lanes.

        Whoever iterates writes the body of a loop: it must go on to the end.
        """
        lanes = self.vector.lanes
        whole = n // lanes * lanes
        if whole:
            with self.loop(0, whole, lanes) as j:
                yield j, None
        if n % lanes:
            yield whole, n % lanes
