"""Re-roll: find the loops in an unrolled program.

Operations of one site at successive steps become one rolled `Node`, if each operand plays the same
role at every step: it is the same tensor always, or the result of another node at a fixed distance in
time. Where a distance reaches before the first step (or past the last), what is read there is the
node's *initial value*: h_0, or the zero gradient that comes back from beyond the last step.
An operation whose operands do not fit is taken out of its site and stays by itself, so whatever does
not roll is still right: it is straight-line code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from ..core.indexing import Slot, scatter
from ..core.primitive import Primitive
from ..core.tensor import Array
from ..escape import terminal
from ..ops.indexing import getitem_p
from .ir import NOW, At, Node, Read, Shift, Span
from .operations import NOWHEN, total
from .trace import Trace

_MAX_REACH = 64  # how far outside a node's steps initial values may lie
_MAX_PARTS = 8  # a site that breaks into more runs than this is not worth rolling,
_LONG = 8  # if they are shorter than this
_FEW = 4  # steps that do not fit, but may be a loop of their own
_MAX_ROUNDS = 100
_NOTHING = np.iinfo(np.intc).min  # no operation's number, and no scalar's


class _Table(NamedTuple):
    """Constants in place of one operand at successive steps: their numbers and values; see `Node`."""

    column: tuple[int, ...]
    values: Array
    drawings: list[int | None]


class Rolled(NamedTuple):
    """The rolled program.

    Attributes:
        nodes: its operations.
        results: how its results are read.
        inputs: its inputs, in order.
        misfits: in words, what was taken out of a site, and why.
        members: the numbers of the operations that a rolled node stands for, in step order.
    """

    nodes: list[Node]
    results: list[Read]
    inputs: list[Node]
    misfits: list[str]
    members: dict[Node, Array]

    def number(self, read: Read) -> int:
        """The number of the operation whose result is read."""
        return int(read.node.order if read.at is None else self.members[read.node][read.at - read.node.lo])


def reroll(trace: Trace, straight: set[int], inner: set[int]) -> Rolled:
    """Group the operations of a trace into nodes.

    Args:
        trace: the unrolled program.
        straight: numbers of operations that must stay by themselves.
        inner: numbers of operations that must not be initial values.
    """
    return _Reroller(trace, straight, inner).rolled()


class _Reroller:
    """A trace, and which of its operations belong together.

    Attributes:
        members: the operations of each rolled node, in step order.
        owner: for each operation the rolled node that it belongs to, if any.
    """

    def __init__(self, trace: Trace, straight: set[int], inner: set[int]) -> None:
        self.trace, self.ops, self.inner = trace, trace.ops, inner
        self.step, self.site_of, self.params_of, self.starts, self.operands = (
            np.frombuffer(column, np.intc)
            for column in (self.ops.step, self.ops.site_of, self.ops.params_of, self.ops.starts, self.ops.operands)
        )
        self.owner: list[Node | None] = [None] * len(self.ops)
        self.members: dict[Node, Array] = {}
        self.misfits: list[tuple[int, str]] = []
        self.tried: set[tuple[int, int]] = set()  # operations that were tried on a site
        self.most = 0  # how many operations were rolled at best
        self._candidates(straight)

    def rolled(self) -> Rolled:
        """Fit, and take apart what does not fit, until all fits; after some rounds nothing is put together again."""
        for round_number in count():
            fits = {node: _Fit(node, self) for node in self.members}
            if not any(fit.bad for fit in fits.values()):
                _settle_initials(fits)
            if not any(fit.bad for fit in fits.values()):
                if round_number < _MAX_ROUNDS and self._extend():
                    continue
                break
            members, self.members = self.members, {}
            for node, fit in fits.items():
                self.misfits.extend((int(members[node][t - node.lo]), why) for t, why in fit.bad.items())
                if not fit.bad:
                    self.members[node] = members[node]
                    continue
                for n in members[node]:
                    self.owner[n] = None
                if round_number < _MAX_ROUNDS:
                    bad = np.isin(np.arange(node.lo, node.hi + 1), list(fit.bad))
                    self._unite(members[node][~bad])
                    self._unite(members[node][bad], _FEW)
        return self._connect(fits)

    def _candidates(self, straight: set[int]) -> None:
        """Sites with operations at successive steps, whatever their operands."""
        alive = self.trace.alive
        computed = np.array([site.primitive is not None for site in self.ops.sites])
        alive = alive[(self.step[alive] != NOWHEN) & computed[self.site_of[alive]]]
        if straight:
            alive = alive[~np.isin(alive, list(straight))]
        alive = alive[np.argsort(self.site_of[alive], kind="stable")]
        sites = np.split(alive, 1 + np.flatnonzero(np.diff(self.site_of[alive])))
        for same in sorted((site for site in sites if len(site)), key=lambda site: site[0]):
            _, first = np.unique(self.step[same], return_index=True)  # in step order
            self._unite(same[first])

    def _unite(self, ops: Array, least: int = 2) -> None:
        """Make a node of each run of so many successive steps or more; none if there are too many short pieces."""
        runs = np.split(ops, 1 + np.flatnonzero(np.diff(self.step[ops]) != 1))
        for run in runs if len(runs) <= max(_MAX_PARTS, len(ops) // _LONG) else []:
            if len(run) >= least:
                lo = int(self.step[run[0]])
                node = Node(self.ops, run[len(run) // 2], int(run.min()), (lo, lo + len(run) - 1))
                self.members[node] = run
                for n in run:
                    self.owner[n] = node

    def _extend(self) -> bool:
        """Try operations that are left on the node of the same code whose steps they would continue."""
        alive = self.trace.alive
        rolled = sum(map(len, self.members.values()))
        if rolled > self.most:  # what did not fit may fit now
            self.most = rolled
            self.tried.clear()
        left = [n for n in alive[self.step[alive] != NOWHEN].tolist() if self.owner[n] is None]
        ends: dict[tuple[int, int], list[Node]] = {}
        for node, run in self.members.items():
            base = self.ops.site(int(run[0])).base
            for step in (node.lo - 1, node.hi + 1):
                ends.setdefault((base, step), []).append(node)
        extended = False
        for n in left:
            step = int(self.step[n])
            for node in ends.get((self.ops.site(n).base, step), []):
                if node not in self.members:
                    continue
                run = self.members[node]
                site = int(self.site_of[run[len(run) // 2]])
                if (n, site) in self.tried:
                    continue
                self.tried.add((n, site))
                del self.members[node]
                self._unite(np.concatenate([[n], run] if step < node.lo else [run, [n]]))
                extended = True
                break
        return extended

    def at(self, node: Node, t: int) -> int | None:
        """The operation of a node at step t, if it has one."""
        return int(self.members[node][t - node.lo]) if node.lo <= t <= node.hi else None

    def _words(self, n: int) -> str:
        site = self.ops.site(n)
        where = f" in {terminal(site.scope)}" if site.scope else ""
        return f"{site.primitive.name if site.primitive else '?'} of step {self.ops.step[n]}{where}"

    def _connect(self, fits: dict[Node, _Fit]) -> Rolled:
        """Turn roles into references; everything that is in no rolled node becomes a node of its own."""
        singles = {n: Node(self.ops, n, n) for n in self.trace.alive.tolist() if self.owner[n] is None}
        nodes = [*fits, *singles.values()]
        tables: dict[Any, Node] = {}

        def refer(x: int) -> Any:
            if x < 0:
                return self.ops.scalars[~x]
            node = self.owner[x]
            return Read(singles[x]) if node is None else Read(node, At(int(self.step[x])))

        for n, node in singles.items():
            node.args = [refer(x) for x in self.ops.args(n)]
            if node.primitive is scatter:
                _compress_scatter(node)
            else:
                node.args = list(compressed(node.args, node.primitive))
        for node, fit in fits.items():
            node.numbers = fit.numbers
            for role in fit.args:
                if type(role) is _Table:
                    key = node.lo, role.column, role.values.dtype  # forward and backward read the same masks
                    if key not in tables:
                        table = tables[key] = node.like(None, [], rolled=True, value=role.values)
                        table.order, table.drawings = node.order - 0.5, role.drawings
                        table.shape, table.dtype = role.values.shape[1:], role.values.dtype
                        nodes.append(table)
                    node.args.append(Read(tables[key], NOW))
                else:
                    source, delay = role
                    node.args.append(refer(source) if delay is None else Read(source, Shift(delay)))
            for source, step, start, _ in fit.claims:
                source.initials[step] = None if start is None else refer(start)
        return Rolled(
            nodes,
            [refer(n) for n in self.trace.results],
            [singles[n] for n in self.trace.inputs],
            [f"{self._words(n)}: {why}" for n, why in dict(reversed(self.misfits)).items() if self.owner[n] is None],
            self.members,
        )


_ELSEWHERE = "an operand comes from elsewhere than in other steps"


class _Fit:
    """The roles of a node's operands, and the steps at which they are not played.

    Attributes:
        args: for each operand `(node, delay)`, `(number of an operation or scalar, None)`, or a `_Table`.
        numbers: see `Node`.
        claims: `(node, step, operation or None, own step)`: the initial values it wants to read.
        bad: steps at which it does not fit, each with a reason.
    """

    def __init__(self, node: Node, rolls: _Reroller) -> None:
        self.node, self.rolls, self.members = node, rolls, rolls.members[node]
        self.args: list[Any] = []
        self.numbers: list[tuple[int, int]] = []
        self.claims: list[tuple[Node, int, int | None, int]] = []
        self.bad: dict[int, str] = {}
        if node.primitive is total:
            self._sum()
        else:
            starts = rolls.starts[self.members]
            counts = rolls.starts[self.members + 1] - starts
            usual = counts[len(counts) // 2]
            for t in np.flatnonzero(counts != usual).tolist():
                self.bad[node.lo + t] = f"it has {counts[t]} operands, other steps have {usual}"
            if not self.bad:
                for j in range(usual):
                    self._operand(rolls.operands[starts + j])
        same = (rolls.params_of[self.members] == rolls.params_of[self.members[0]]).all()
        columns = [] if same else [rolls.ops.params[p].numbers for p in rolls.params_of[self.members].tolist()]
        self._check_claims()
        for i, n in enumerate([n for _, n in node.numbers]):
            self._number([numbers[i] for numbers in columns] or [n] * len(self.members))

    def _role(self, x: int, t: int) -> tuple[Node, int] | None:
        """The node that `x` belongs to and how many steps before t, or None if it runs once."""
        node = self.rolls.owner[x] if x >= 0 else None
        return None if node is None else (node, t - int(self.rolls.step[x]))

    def _operand(self, column: Array) -> None:
        node, rolls, middle = self.node, self.rolls, len(column) // 2
        model = int(column[middle])
        differs = column != model
        role = self._role(model, node.lo + middle)
        if not differs.any() or (role is not None and 2 * np.count_nonzero(differs) < len(column)):
            self.args.append((model, None))
            self.bad.update((node.lo + int(i), _ELSEWHERE) for i in np.flatnonzero(differs))
        elif role is not None:
            source, delay = role
            self.args.append((source, delay))
            expected = np.full(len(column), _NOTHING)
            first, last = max(node.lo, source.lo + delay), min(node.hi, source.hi + delay)
            expected[first - node.lo : last + 1 - node.lo] = rolls.members[source][
                first - delay - source.lo : last + 1 - delay - source.lo
            ]
            for i in np.flatnonzero(expected != column):
                t, x = node.lo + int(i), int(column[i])
                if expected[i] == _NOTHING and self._may_start(source, t - delay, x):
                    self.claims.append((source, t - delay, x, t))
                else:
                    self.bad[t] = _ELSEWHERE
        else:
            values = [self._constant(x) for x in column.tolist()]
            if all(v is not None and v.shape == np.shape(values[0]) and v.dtype == values[0].dtype for v in values):
                drawings = [rolls.ops.drawing_of.get(x) for x in column.tolist()]
                random = any(k is not None for k in drawings)
                self.args.append(_Table(tuple(column.tolist()), np.stack(values), drawings if random else []))
            else:
                self.args.append((model, None))
                self.bad.update((node.lo + int(i), "an operand is another tensor than in other steps")
                                for i in np.flatnonzero(differs))  # fmt: skip

    def _may_start(self, source: Node, step: int, x: int) -> bool:
        near = source.lo - _MAX_REACH <= step <= source.hi + _MAX_REACH
        if not near or x < 0 or x in self.rolls.inner:
            return False
        site = self.rolls.ops.site(x)
        return site.shape == source.shape and site.dtype == source.dtype

    def _check_claims(self) -> None:
        """Many results of one site are no initial values: a loop goes on with them, as before a truncation."""
        sites = [None if x is None else self.rolls.site_of[x] for _, _, x, _ in self.claims]
        taken = Counter((claim[0], site) for claim, site in zip(self.claims, sites, strict=True))
        for (source, step, _, t), site in zip(self.claims, sites, strict=True):
            if site is not None and taken[source, site] > max(2, abs(t - step)):
                self.bad[t] = _ELSEWHERE

    def _constant(self, x: int) -> Any:
        """The value of an operand that is known now, else None; a number in the dtype that NumPy would take it for."""
        if x >= 0:
            return self.rolls.ops.values.get(x)
        ops = self.rolls.ops
        beside = [ops.site(a).dtype for a in ops.args(self.members[len(self.members) // 2]) if a >= 0]
        value = ops.scalars[~x]
        return np.asarray(value, np.result_type(*beside, value))

    def _sum(self) -> None:
        """A sum may lack a term at the first or last steps: the term's initial value is then zero."""
        node, rolls = self.node, self.rolls
        sums = [rolls.ops.args(n).tolist() for n in self.members]
        usual = Counter(map(len, sums))
        middle = max(range(len(sums)), key=lambda i: (usual[len(sums[i])], len(sums[i]), -abs(i - len(sums) // 2)))
        roles = [(x, self._role(x, node.lo + middle)) for x in sums[middle]]
        # A term that is the same tensor at every step is not one step's result at a distance.
        common = Counter(x for terms in sums for x in set(terms))
        roles = [(x, None if common[x] == len(sums) else role) for x, role in roles]
        self.args = [(x, None) if role is None else role for x, role in roles]
        for t, rest in enumerate(sums, node.lo):
            missing = []
            for x, role in roles:
                expected = x if role is None else rolls.at(role[0], t - role[1])
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
        node, middle = self.node, len(column) // 2
        slope = column[middle] - column[middle - 1]
        if slope not in (-1, 0, 1) or node.primitive not in (None, getitem_p):
            slope = 0
        start = column[middle] - slope * (node.lo + middle)
        self.numbers.append((slope, start))
        for t, n in enumerate(column, node.lo):
            if n != slope * t + start:
                self.bad[t] = "an index does not move evenly with the steps"


def _settle_initials(fits: dict[Node, _Fit]) -> None:
    """Two readers must agree on an initial value; the later one does not fit otherwise."""
    settled: dict[tuple[Node, int], int | None] = {}
    for fit in fits.values():
        for source, step, start, t in fit.claims:
            if settled.setdefault((source, step), start) != start:
                fit.bad[t] = "it needs another initial value than another operation"


def _compress_scatter(node: Node) -> None:
    """Gradients of rows that were read one after another, or of the rows of a table: one part for all steps.

    The parts of different nodes take turns; each node's are one part, if they make one.
    """
    columns: list[tuple[Any, list[Any]]] = []
    at = 0
    for key, n in node.params["parts"]:
        columns.append((key, node.args[at : at + 1 + n]))
        at += 1 + n
    groups: dict[Any, list[tuple[Any, list[Any]]]] = {}
    for i, (key, operands) in enumerate(columns):
        stepped = all(type(r) is Read and r.at is not None for r in operands)
        groups.setdefault((operands[0].node, len(operands)) if stepped else i, []).append((key, operands))
    merged = [part for group in groups.values() for part in (_one_part(group) or group)]
    if len(merged) < len(columns):
        node.params = {**node.params, "parts": tuple((key, len(operands) - 1) for key, operands in merged)}
        node.args = [a for _, operands in merged for a in operands]


def _one_part(group: list[tuple[Any, list[Any]]]) -> list[tuple[Any, list[Any]]] | None:
    """The parts of one node's steps as one, which has time first."""
    if len(group) < 3:
        return None
    group = sorted(group, key=lambda part: part[1][0].at)
    spans = [list(_spans(list(column))) for column in zip(*(operands for _, operands in group), strict=True)]
    keys = [key for key, _ in group]
    if any(len(span) != 1 for span in spans):
        return None
    operands = [span[0] for span in spans]
    if len(operands) == 2 and type(keys[0]) is Slot and all(key == keys[0] for key in keys):
        return [(keys[0], operands)]
    if len(operands) > 1:
        return None
    rows = [key[0] if type(key) is tuple else key for key in keys]
    rest = [key[1:] if type(key) is tuple else () for key in keys]
    if any(type(row) is not int or row < 0 for row in rows) or any(each != rest[0] for each in rest):
        return None
    slope = rows[1] - rows[0]
    if slope not in (1, -1) or rows != list(range(rows[0], rows[0] + slope * len(rows), slope)):
        return None
    if slope < 0:
        operands = [Read(operands[0].node, Span(operands[0].when.last, operands[0].when.first))]
    rows_of_all = slice(min(rows), max(rows) + 1)
    return [((rows_of_all, *rest[0]) if rest[0] else rows_of_all, operands)]


def compressed(args: list[Any], primitive: Primitive | None) -> Iterator[Any]:
    """Read successive steps of one rolled node as one span, in operations that take any number of operands."""
    if (primitive and primitive.arity is not None) or len(args) < 3:
        yield from args
        return
    if primitive is total:  # the order of terms is free
        args = sorted(args, key=lambda r: (r.node.order, r.at or 0))
    yield from _spans(args)


def _spans(args: list[Any]) -> Iterator[Any]:
    i = 0
    while i < len(args):
        last = i
        first = args[i]
        if type(first) is Read and first.at is not None:
            for direction in (1, -1):
                n = i
                while n + 1 < len(args) and args[n + 1] == Read(first.node, At(first.at + direction * (n + 1 - i))):
                    n += 1
                last = max(last, n)
                if last > i:
                    break
        yield first if last == i else Read(first.node, Span(first.at, args[last].at))
        i = last + 1
