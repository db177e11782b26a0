"""Re-roll: find the loops in an unrolled program.

Operations of one site at successive steps become one rolled `Unit`, if each operand plays the same
role at every step: it is the same tensor always, or the result of another unit at a fixed distance in
time. Where a distance reaches before the first step (or past the last), what is read there is the
unit's *initial value*: h_0, or the zero gradient that comes back from beyond the last step.
An operation whose operands do not fit is taken out of its site and stays by itself, so whatever does
not roll is still right: it is straight-line code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..patch import Slot, scatter
from .trace import Op, Trace, total

_MAX_REACH = 64  # how far outside a unit's steps initial values may lie
_MAX_PARTS = 8  # a site that breaks into more runs than this is not worth rolling
_MAX_ROUNDS = 40


class Ref(NamedTuple):
    """How a unit reads another, in at most one of these ways.

    delay: at step t, the result of step t - delay; at: always the result of that one step;
    span: the results of all steps from the first to the last of the pair, as one array with time
    first; none of them: the unit runs once, and this is its result.
    """

    unit: Unit
    delay: int | None = None
    at: int | None = None
    span: tuple[int, int] | None = None


class Unit:
    """One operation of the rolled program: run once, or once for each step from `lo` to `hi`.

    Attributes:
        op: the operation (of a middle step), for its name, scope and line.
        ops: the operations it stands for, in step order.
        rolled: whether it has a time axis.
        args: a Ref or a Python scalar for each operand.
        numbers: for each integer among the parameters `(a, b)`, meaning a * t + b.
        initials: what a step outside lo..hi holds: a Ref, or None for zeros.
        table: for a constant that changes from step to step, its values with time first.
    """

    def __init__(self, ops: Sequence[Op], rolled: bool, lo: int = 0) -> None:
        self.ops, self.rolled, self.lo = list(ops), rolled, lo
        self.hi = lo + len(ops) - 1
        self.op = ops[len(ops) // 2]
        self.primitive, self.params = self.op.primitive, self.op.params
        self.shape, self.dtype = self.op.shape, self.op.dtype
        self.args: list[Any] = []
        self.numbers: list[tuple[int, int]] = [(0, n) for n in self.op.numbers]
        self.initials: dict[int, Ref | None] = {}
        self.table: np.ndarray[Any, Any] | None = None
        self.order: float = min(op.index for op in ops)

    @property
    def operation(self) -> str:
        """The name of its primitive; empty for an input or a constant."""
        return self.primitive.name if self.primitive else ""

    def at(self, t: int) -> Op | None:
        """Its operation at step t, if it has one."""
        return self.ops[t - self.lo] if self.lo <= t <= self.hi else None

    @property
    def refs(self) -> Iterator[Ref]:
        """What it reads, initial values included."""
        yield from (a for a in self.args if type(a) is Ref)
        yield from (r for r in self.initials.values() if r is not None)

    def __repr__(self) -> str:
        name = self.primitive.name if self.primitive else "input" if self.op.value is None else "constant"
        return f"<{name} {self.op.name or ''} {f'{self.lo}..{self.hi}' if self.rolled else ''}>"


class Rolled(NamedTuple):
    """The rolled program: its units, how its results are read, and what was taken out of a site and why."""

    units: list[Unit]
    results: list[Ref]
    misfits: list[tuple[Op, str]]


def reroll(trace: Trace, straight: set[int]) -> Rolled:
    """Group the operations of a trace into units.

    Args:
        trace: the unrolled program.
        straight: numbers (`Op.index`) of operations that must stay by themselves.
    """
    owner: list[Unit | None] = [None] * (1 + max(op.index for op in trace.ops))
    units = _candidates(trace.ops, straight, owner)
    misfits: list[tuple[Op, str]] = []
    fits: dict[Unit, _Fit] = {}
    for round_number in range(_MAX_ROUNDS + 1):
        fits = {unit: _Fit(unit, owner) for unit in units}
        if not any(fit.bad for fit in fits.values()):
            _settle_initials(fits)
        if not any(fit.bad for fit in fits.values()):
            break
        units = []
        for unit, fit in fits.items():
            parts = [unit] if not fit.bad else [] if round_number == _MAX_ROUNDS else _split(unit, fit.bad)
            misfits.extend((unit.ops[t - unit.lo], why) for t, why in fit.bad.items())
            if parts != [unit]:
                _own(None, unit.ops, owner)
                for part in parts:
                    _own(part, part.ops, owner)
            units.extend(parts)
    return _connect(trace, fits, owner, misfits)


def _candidates(ops: Sequence[Op], straight: set[int], owner: list[Unit | None]) -> list[Unit]:
    """Sites with operations at successive steps, whatever their operands."""
    sites: dict[Any, list[Op]] = {}
    for op in ops:
        if op.step is not None and op.primitive is not None and op.index not in straight:
            sites.setdefault(op.site, []).append(op)
    units = []
    for same in sites.values():
        found: dict[int | None, Op] = {}
        for op in same:
            found.setdefault(op.step, op)
        for run in _runs(sorted(found)):
            units.append(Unit([found[t] for t in run], True, run[0]))
            _own(units[-1], units[-1].ops, owner)
    return units


def _own(unit: Unit | None, ops: Sequence[Op], owner: list[Unit | None]) -> None:
    for op in ops:
        owner[op.index] = unit


def _runs(steps: Sequence[int]) -> list[list[int]]:
    """Successive steps, two or more; none if there are too many pieces."""
    runs: list[list[int]] = []
    for t in steps:
        if runs and runs[-1][-1] == t - 1:
            runs[-1].append(t)
        else:
            runs.append([t])
    return [run for run in runs if len(run) > 1] if len(runs) <= _MAX_PARTS else []


def _split(unit: Unit, bad: dict[int, str]) -> list[Unit]:
    good = [t for t in range(unit.lo, unit.hi + 1) if t not in bad]
    return [Unit([unit.ops[t - unit.lo] for t in run], True, run[0]) for run in _runs(good)]


class _Fit:
    """The roles of a unit's operands, and the steps at which they are not played.

    Attributes:
        args: see `Unit`.
        numbers: see `Unit`.
        claims: `(unit, step, operation or None, own step)`: the initial values it wants to read.
        bad: steps at which it does not fit, each with a reason.
    """

    def __init__(self, unit: Unit, owner: list[Unit | None]) -> None:
        self.unit, self.owner = unit, owner
        self.args: list[Any] = []
        self.numbers: list[tuple[int, int]] = []
        self.claims: list[tuple[Unit, int, Op | None, int]] = []
        self.bad: dict[int, str] = {}
        if unit.primitive is total:
            self._sum()
        else:
            count = len(unit.op.args)
            for t, op in enumerate(unit.ops, unit.lo):
                if len(op.args) != count:
                    self.bad[t] = f"it has {len(op.args)} operands, other steps have {count}"
            if not self.bad:
                for j in range(count):
                    self._operand([op.args[j] for op in unit.ops])
        for i in range(len(unit.op.numbers)):
            self._number([op.numbers[i] for op in unit.ops])

    def _role(self, x: Any, t: int) -> tuple[Unit, int] | None:
        """The unit that `x` belongs to and how many steps before t, or None if it runs once."""
        unit = self.owner[x.index] if type(x) is Op else None
        return None if unit is None else (unit, t - x.step)

    def _operand(self, column: list[Any]) -> None:
        unit, middle = self.unit, len(column) // 2
        model = column[middle]
        differs = [t for t, x in enumerate(column, unit.lo) if x is not model and not _equal(x, model)]
        role = self._role(model, unit.lo + middle)
        if not differs:
            self.args.append(model if type(model) is not Op else (model, None))
        elif role is not None:
            source, delay = role
            self.args.append((source, delay))
            for t, x in enumerate(column, unit.lo):
                expected = source.at(t - delay)
                if expected is not x:
                    if expected is None and self._may_start(source, t - delay, x):
                        self.claims.append((source, t - delay, x, t))
                    else:
                        self.bad[t] = "an operand comes from elsewhere than in other steps"
        else:
            values = [_constant(x, unit.dtype) for x in column]
            if all(v is not None and v.shape == np.shape(values[0]) and v.dtype == values[0].dtype for v in values):
                self.args.append(np.stack(values))
            else:
                self.args.append((model, None))
                self.bad.update((t, "an operand is another tensor than in other steps") for t in differs)

    @staticmethod
    def _may_start(source: Unit, step: int, x: Any) -> bool:
        near = source.lo - _MAX_REACH <= step <= source.hi + _MAX_REACH
        return near and type(x) is Op and x.shape == source.shape and x.dtype == source.dtype

    def _sum(self) -> None:
        """A sum may lack a term at the first or last steps: the term's initial value is then zero."""
        unit = self.unit
        middle = max(range(len(unit.ops)), key=lambda i: (len(unit.ops[i].args), -abs(i - len(unit.ops) // 2)))
        roles = [(x, self._role(x, unit.lo + middle)) for x in unit.ops[middle].args]
        # A term that is the same tensor at every step is not one step's result at a distance.
        common = Counter(id(x) for op in unit.ops for x in set(op.args))
        roles = [(x, None if common[id(x)] == len(unit.ops) else role) for x, role in roles]
        self.args = [(x, None) if role is None else role for x, role in roles]
        for t, op in enumerate(unit.ops, unit.lo):
            rest, missing = list(op.args), []
            for x, role in roles:
                expected = x if role is None else role[0].at(t - role[1])
                if expected is not None and expected in rest:
                    rest.remove(expected)
                elif expected is None and role is not None:
                    missing.append((role[0], t - role[1]))
                else:
                    self.bad[t] = "a term of the sum is missing"
            for source, step in missing:
                start = rest.pop() if rest else None
                if start is None or self._may_start(source, step, start):
                    self.claims.append((source, step, start, t))
                else:
                    self.bad[t] = "a term of the sum comes from elsewhere than in other steps"
            if rest:
                self.bad[t] = "the sum has more terms than in other steps"

    def _number(self, column: list[int]) -> None:
        unit, middle = self.unit, len(column) // 2
        slope = column[middle] - column[middle - 1]
        if slope not in (-1, 0, 1) or (unit.primitive is not None and unit.primitive.name != "getitem"):
            slope = 0
        start = column[middle] - slope * (unit.lo + middle)
        self.numbers.append((slope, start))
        for t, n in enumerate(column, unit.lo):
            if n != slope * t + start:
                self.bad[t] = "an index does not move evenly with the steps"


def _equal(a: Any, b: Any) -> bool:
    """Whether two scalars are the same; operations are compared by identity."""
    return type(a) is type(b) and type(a) is not Op and bool(a == b)


def _constant(x: Any, dtype: np.dtype[Any]) -> Any:
    if type(x) is Op:
        return x.value
    return np.asarray(x, dtype if isinstance(x, float) or dtype.kind != "f" else None)


def _settle_initials(fits: dict[Unit, _Fit]) -> None:
    """Two readers must agree on an initial value; the later one does not fit otherwise."""
    settled: dict[tuple[int, int], Op | None] = {}
    for fit in fits.values():
        for source, step, start, t in fit.claims:
            if settled.setdefault((id(source), step), start) is not start:
                fit.bad[t] = "it needs another initial value than another operation"


def _connect(trace: Trace, fits: dict[Unit, _Fit], owner: list[Unit | None], misfits: list[tuple[Op, str]]) -> Rolled:
    """Turn roles into references; everything that is in no rolled unit becomes a unit of its own."""
    singles = {op.index: Unit([op], False) for op in trace.ops if owner[op.index] is None}
    units = [*fits, *singles.values()]

    def refer(x: Any) -> Any:
        if type(x) is not Op:
            return x
        rolled = owner[x.index]
        return Ref(singles[x.index]) if rolled is None else Ref(rolled, at=x.step)

    for unit in singles.values():
        unit.args = [refer(x) for x in unit.op.args]
        if unit.primitive is scatter:
            _compress_scatter(unit)
        else:
            unit.args = list(_compress(unit.args, unit))
    for unit, fit in fits.items():
        unit.numbers = fit.numbers
        for role in fit.args:
            if type(role) is tuple:
                source, delay = role
                unit.args.append(refer(source) if delay is None else Ref(source, delay=delay))
            elif isinstance(role, np.ndarray):
                table = Unit(unit.ops, True, unit.lo)
                table.primitive, table.numbers, table.order = None, [], unit.order - 0.5
                table.table, table.shape, table.dtype = role, role.shape[1:], role.dtype
                units.append(table)
                unit.args.append(Ref(table, delay=0))
            else:
                unit.args.append(role)
        for source, step, start, _ in fit.claims:
            source.initials[step] = refer(start)
    return Rolled(units, [refer(op) for op in trace.results], misfits)


def _compress_scatter(unit: Unit) -> None:
    """Gradients of rows that were read one after another, or of the rows of a table: one part for all steps."""
    parts = unit.params["parts"]
    key, n = parts[0]
    columns = [unit.args[j :: n + 1] for j in range(n + 1)]
    if len(parts) < 3 or any(m != n for _, m in parts) or any(type(r) is not Ref or r.at is None for r in unit.args):
        return
    order = sorted(range(len(parts)), key=lambda i: columns[0][i].at)
    spans = [list(_spans([column[i] for i in order])) for column in columns]
    if any(len(span) != 1 for span in spans):
        return
    rows = [parts[i][0] for i in order]
    if n == 1 and type(key) is Slot and all(row == key for row in rows):
        merged: Any = key
    elif n == 0 and all(type(row) is int for row in rows) and rows == list(range(rows[0], rows[0] + len(rows))):
        merged = slice(rows[0], rows[0] + len(rows)) if rows[0] >= 0 else None
    else:
        return
    if merged is not None:
        unit.params = {**unit.params, "parts": ((merged, n),)}
        unit.args = [span[0] for span in spans]


def _compress(args: list[Any], unit: Unit) -> Iterator[Any]:
    """Read successive steps of one rolled unit as one span, in operations that take any number of operands."""
    arity = None if unit.primitive is None else unit.primitive.arity
    if arity is not None or len(args) < 3:
        yield from args
        return
    if unit.primitive is total:  # the order of terms is free
        args = sorted(args, key=lambda r: (r.unit.order, r.at or 0))
    yield from _spans(args)


def _spans(args: list[Any]) -> Iterator[Any]:
    i = 0
    while i < len(args):
        last = i
        first = args[i]
        if type(first) is Ref and first.at is not None:
            for direction in (1, -1):
                n = i
                while n + 1 < len(args) and args[n + 1] == first._replace(at=first.at + direction * (n + 1 - i)):
                    n += 1
                last = max(last, n)
                if last > i:
                    break
        yield first if last == i else Ref(first.unit, span=(first.at, args[last].at))
        i = last + 1
