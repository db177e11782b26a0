"""Choose: which loops become native code, and what runs around each of them within it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

from ..ir import Loop, Node, Program, Read
from ..operations import contract
from ..rewrite import Rewriter
from .region import MisfitError, Region, columns, known

Readers = dict[Node, list[tuple[Node | None, Read]]]
"""Who reads each node; None if it is a result of the program."""


def regions(program: Program) -> tuple[list[Region], list[tuple[Loop, str]]]:
    """The regions of a program, and the loops that do not fit, each with the reason."""
    readers = Rewriter(list(program.nodes), program.results).readers()
    singles = [part for part in program.schedule if isinstance(part, Node)]
    found: list[Region] = []
    misfits: list[tuple[Loop, str]] = []
    for loop in [part for part in reversed(program.schedule) if isinstance(part, Loop)]:
        free = [node for node in singles if not any(node in region.nodes for region in found)]
        for around in (_around(loop, free, readers), []):
            try:
                found.append(Region(loop, [*around, *loop.nodes], readers))
                break
            except MisfitError as error:
                why = str(error)
        else:
            misfits.append((loop, why))
    return found, misfits


def _around(loop: Loop, singles: Sequence[Node], readers: Readers) -> list[Node]:
    """What runs once for all steps and may as well run within the loop: all that reads or is read by it alone."""

    def operands(node: Node) -> list[Node]:
        return [read.node for read in node.reads]

    def users(node: Node) -> list[Node]:
        return [reader for reader, _ in readers[node] if reader]

    around = {node for node in singles if _may_join(node, loop)}
    while True:
        region = around.union(loop.nodes)
        good = {node for node in around if _fits(node, region, loop, readers[node])}
        if good == around:
            good &= _reached(loop.nodes, lambda node: operands(node) + users(node), region)
            region = good.union(loop.nodes)
            # nothing that the region waits for may wait for it
            before = _reached([x for node in region for x in operands(node) if x not in region], operands, None, region)
            after = _reached([x for node in region for x in users(node) if x not in region], users, None, region)
            good = {n for n in good if before.isdisjoint(users(n)) and after.isdisjoint(operands(n))}
            if good == around:
                return [node for node in singles if node in around]
        around = good


def _may_join(node: Node, loop: Loop) -> bool:
    """Whether it has a form for one step of the loop, or is a sum over all steps."""
    like = loop.nodes[0]
    if node.dtype != like.dtype:
        return False
    if not node.rolled:
        spans = [a.span for a in node.args if type(a) is Read]
        return len(spans) == len(node.args) and None not in spans and _sums(node)
    form = known(node) or columns(node) is not None
    same = (node.lo, node.hi) == (loop.lo, loop.hi) and len(node.shape) == len(like.shape)
    return form and same and not node.initials


def _fits(node: Node, region: set[Node], loop: Loop, readers: Sequence[tuple[Node | None, Read]]) -> bool:
    """Whether all that it reads of the region, and all that reads it, is of the same step."""
    steps, mine = (loop.lo, loop.hi), [read for read in node.reads if read.node in region]
    if not node.rolled:
        return bool(mine) and all(read.span == steps == (read.node.lo, read.node.hi) for read in mine)
    return (
        all(read.delay == 0 for read in mine)
        and all(reader in region and (read.delay == 0 or not reader.rolled) for reader, read in readers if reader)
        and all(reader for reader, _ in readers)
        and (columns(node) is None or bool(mine))
    )


def _sums(node: Node) -> bool:
    """Whether it is a contraction, or a sum over time and all rows, columns left or not."""
    if node.operation != "sum":
        return node.primitive is contract
    ndim = len(node.args[0].node.shape) + 1
    axis = node.params["axis"]
    axes = {i % ndim for i in (range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))}
    return axes >= set(range(ndim - 1)) and not node.params["keepdims"]


def _reached(
    start: Iterable[Node],
    following: Callable[[Node], list[Node]],
    within: set[Node] | None,
    without: Container[Node] = (),
) -> set[Node]:
    """All nodes on the way from those at the start, without leaving a set or entering another."""
    found: set[Node] = set()
    stack = list(start)
    while stack:
        node = stack.pop()
        if node not in found and node not in without:
            found.add(node)
            stack += [n for n in following(node) if within is None or n in within]
    return found
