"""Rows: the steps of a loop without `tg.steps`, such as `for x in xs:`, told by the rows that it reads.

Between two reads of a row lies the body of the loop. A line of it may read no row, and depend on none: the state of a
decoder does not depend on the answers that it is compared with. It has the step of the body in which it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..core.operation import Operation
from ..ops.indexing import getitem_p
from .operations import NOWHEN, Ops

_LOOPS = 8
"""So many loops over what others made are looked for, one after the other."""

Visit = tuple[int, int]
"""How many bodies there were before and with this one, and its step."""


def row_read(primitive: Operation | None, attrs: Mapping[str, Any]) -> int | None:
    """The i where it is `x[i]` or the like, which usually follows the steps: `xs[t]`."""
    key = attrs["key"] if primitive is getitem_p else None
    return next((k for k in (key if type(key) is tuple else (key,)) if type(k) is int), None)


def by_rows(ops: Ops, late: Sequence[int], weights: Container[int]) -> dict[int, Visit]:
    """The visit of each operation that stands in the body of a loop.

    A loop over what another one made, such as `for h in reversed(states):`, reads its results as the first reads rows.

    Args:
        ops: of the forward pass.
        late: the operations without a step.
        weights: the inputs that are parameters.
    """
    line = {n: ops.site(n).base for n in late}
    fixed = _fixed(ops, late)
    home = _in_bodies(late, _read(ops, late, line, weights), line, fixed, 0)
    for _ in range(_LOOPS):
        left = [n for n in late if n not in home]
        found = _in_bodies(left, _made(ops, left, line, home), line, fixed, len(late) + len(home))
        if not found:
            break
        home.update(found)
    return home


def _in_bodies(
    late: Sequence[int], rows: Mapping[int, int], line: Mapping[int, int], fixed: Container[int], first: int
) -> dict[int, Visit]:
    """The visit, numbered from `first` on, of operations in the bodies that the reads of rows divide them into.

    A line of a body is in the one before or after it too, and no more often: what comes after the last row, such as a
    second loop, is not taken for its body. Where the row is read in the middle, the body begins before it.
    """
    bodies: list[list[int]] = [[]]
    visits: list[Visit] = [(first, NOWHEN)]
    found: dict[int, Visit] = {}
    for n in late:
        if n in rows:
            if rows[n] != visits[-1][1]:
                visits.append((first + len(visits), rows[n]))
                bodies.append([])
            found[n] = visits[-1]
        bodies[-1].append(n)
    counts = [Counter(line[n] for n in body) for body in bodies]
    ahead: set[int] = set()  # lines of the body that stand before the read
    home: dict[int, Visit] = {}
    for k in range(1, len(bodies)):
        reader, here = line[bodies[k][0]], counts[k]
        if k == 1 or line[bodies[k - 1][0]] != reader:  # the first row of a loop
            free = {n for n in bodies[k - 1] if n not in home and (n in fixed or here[line[n]])}
            before = [n for n in _tail(bodies[k - 1], free) if here[line[n]]]
            ahead = {line[n] for n in before}
        else:
            before = _tail(bodies[k - 1], {n for n in bodies[k - 1] if line[n] in ahead})
        home.update(dict.fromkeys(before, visits[k]))
        beside = [counts[i] for i in (k - 1, k + 1) if 0 < i < len(bodies) and line[bodies[i][0]] == reader]
        seen: Counter[int] = Counter()
        for n in bodies[k]:
            seen[line[n]] += 1
            if any(seen[line[n]] <= other[line[n]] for other in beside):
                home[n] = visits[k]
    return {**home, **found}


def _tail(body: list[int], wanted: Container[int]) -> list[int]:
    """The operations at the end of a body up to the last that is not wanted."""
    first = len(body)
    while first and body[first - 1] in wanted:
        first -= 1
    return body[first:]


def _read(ops: Ops, late: Sequence[int], line: Mapping[int, int], weights: Container[int]) -> dict[int, int]:
    """The row that operations read whose line reads several.

    Rows of weights count where no others are read: those of several layers may stand in one.
    """
    lines: dict[int, dict[int, int]] = {}
    for n in late:
        row = row_read(ops.site(n).primitive, ops.params[ops.params_of[n]].values)
        if row is not None and row >= 0:
            lines.setdefault(line[n], {})[n] = row
    several = [rows for rows in lines.values() if len(set(rows.values())) > 1]
    data = [rows for rows in several if not any(ops.args(n)[0] in weights for n in rows)]
    return {n: row for rows in data or several for n, row in rows.items()}


def _made(ops: Ops, left: Sequence[int], line: Mapping[int, int], home: Mapping[int, Visit]) -> dict[int, int]:
    """The step of the body whose result operations read, of the first line that reads one body after the other."""
    steps: dict[tuple[int, int, int], dict[int, int]] = {}
    for n in left:
        for j, a in enumerate(ops.args(n)):
            if a in home:
                steps.setdefault((line[n], j, line[a]), {})[n] = home[a][1]
    for read in steps.values():
        apart = {later - earlier for earlier, later in pairwise(read.values())}
        if len(read) > 2 and (apart == {1} or apart == {-1}):
            return read
    return {}


def _fixed(ops: Ops, late: Sequence[int]) -> set[int]:
    """What is the same in every body, such as `W.T`, and is made in the first one alone."""
    found: set[int] = set()
    for n in late:
        reads = row_read(ops.site(n).primitive, ops.params[ops.params_of[n]].values) is not None
        if not reads and all(a < 0 or a in found or ops.site(a).primitive is None for a in ops.args(n)):
            found.add(n)
    return found


__all__ = ["by_rows", "row_read"]
