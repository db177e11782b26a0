"""Distribute: which operations need a loop over time, and which run once for all steps.

After Allen and Kennedy's loop distribution: the nodes that depend on each other in a circle (the
recurrence) stay together in one loop; every other node is computed for the whole sequence at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

import numpy as np

from .algebra import factor, once_each, simplify
from .ir import Loop, Node, Part, Program, Read
from .reroll import Rolled
from .rewrite import Rewriter


class CircularError(Exception):
    """A circle of nodes that no loop over time can run."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        super().__init__("operations depend on each other in both directions of time")
        self.nodes = nodes


def distribute(rolled: Rolled, once: Callable[[Node], bool]) -> Program:
    """Put the nodes in an order in which they can run.

    Args:
        rolled: the rolled program.
        once: whether a rolled node can be computed for all its steps at once.

    Returns:
        The program.

    Raises:
        CircularError: some nodes must not be rolled.
    """
    program = Rewriter(list(rolled.nodes), list(rolled.results))
    _components(program.nodes)  # a circle is reported before the program is rewritten
    program.drop_unused()
    program.fold_constants()
    program.single_terms()
    program.extend_domains()
    program.casts()
    program.running_sums()
    simplify(program)
    program.flatten_sums()
    program.sums_over_time()
    program.drop_unused()
    program.transposes()
    program.drop_unused()
    circles = _circles(program.nodes)
    factor(program, circles)
    program.sum_beforehand(circles)
    program.multiply_beforehand(circles)
    once_each(program)
    program.drop_unused()
    return Program(scheduled(program.nodes, once), program.results, rolled.inputs)


# ---------------------------------------------------------------------- the order
def scheduled(nodes: Sequence[Node], once: Callable[[Node], bool]) -> list[Part]:
    """Each node alone or in a loop, after what it reads; for `once` see `distribute`."""
    return [_part(component, once) for component in _components(nodes)]


def _circles(nodes: Sequence[Node]) -> dict[Node, int]:
    """For each node in a recurrence, the number of that recurrence."""
    found = {}
    for number, component in enumerate(_components(nodes)):
        if len(component) > 1 or any(ref.node is component[0] for ref in component[0].reads):
            found.update(dict.fromkeys(component, number))
    return found


def _components(nodes: Sequence[Node]) -> list[list[Node]]:
    """Strongly connected components, each after what it reads, otherwise in the program's own order.

    Raises:
        CircularError: a component is no loop over time.
    """
    reads = {node: list({ref.node: None for ref in node.reads}) for node in nodes}
    components = _strongly_connected(reads)
    number = {node: i for i, component in enumerate(components) for node in component}
    circles = [component for component in components if len(component) > 1 or component[0] in reads[component[0]]]
    wrong = [node for circle in circles if not _is_loop(circle) for node in circle]
    if wrong:
        raise CircularError(wrong)
    sorter = TopologicalSorter(
        {i: {number[r] for u in component for r in reads[u]} - {i} for i, component in enumerate(components)}
    )
    sorter.prepare()
    ordered: list[list[Node]] = []
    ready: list[tuple[float, int]] = []
    while sorter.is_active():
        for i in sorter.get_ready():
            heapq.heappush(ready, (min(node.order for node in components[i]), i))
        _, i = heapq.heappop(ready)
        ordered.append(components[i])
        sorter.done(i)
    return ordered


def _strongly_connected(reads: Mapping[Node, Sequence[Node]]) -> list[list[Node]]:
    """Strongly connected components, each after what it reads (Kosaraju's algorithm)."""
    readers: dict[Node, list[Node]] = {node: [] for node in reads}
    for node, others in reads.items():
        for other in others:
            readers[other].append(node)
    seen: set[Node] = set()
    ordered = [node for root in reads for node in _reached(root, reads, seen)]
    seen.clear()
    return [found for root in reversed(ordered) if (found := _reached(root, readers, seen))][::-1]


def _reached(root: Node, following: Mapping[Node, Sequence[Node]], seen: set[Node]) -> list[Node]:
    """What is reached from a node and was not seen, each after all that it leads to; without recursion."""
    found: list[Node] = []
    work = [(root, iter(following[root]))] if root not in seen else []
    seen.add(root)
    while work:
        node, rest = work[-1]
        for other in rest:
            if other not in seen:
                seen.add(other)
                work.append((other, iter(following[other])))
                break
        else:
            found.append(node)
            work.pop()
    return found


def _inner(nodes: Iterable[Node]) -> Iterable[tuple[Node, Read]]:
    members = set(nodes)
    return ((node, ref) for node in members for ref in node.reads if ref.node in members)


def _is_loop(component: Sequence[Node]) -> bool:
    """A loop can run it if all members are rolled and all delays point into the same direction of time."""
    inner = list(_inner(component))
    signs = {np.sign(ref.delay) for _, ref in inner if ref.delay}
    return all(node.rolled for node in component) and all(ref.delay is not None for _, ref in inner) and len(signs) == 1


def _part(component: list[Node], once: Callable[[Node], bool]) -> Part:
    """A loop, or a node that runs once."""
    node = component[0]
    inner = list(_inner(component))
    if not inner and (not node.rolled or once(node)):
        return node
    reverse = any(ref.delay is not None and ref.delay < 0 for _, ref in inner)
    reads = {u: {ref.node for ref in u.reads if ref.delay == 0 and ref.node in set(component)} for u in component}
    whole = (min(u.lo for u in component), max(u.hi for u in component))
    ordered: list[Node] = []
    while reads:  # what does not run at every step as late as it can be, and together
        ready = (u for u, needed in reads.items() if not needed)
        node = min(ready, key=lambda u: ((u.lo, u.hi) != whole, u.hi, -u.lo, u.order))
        ordered.append(node)
        del reads[node]
        for needed in reads.values():
            needed.discard(node)
    return Loop(ordered, reverse)
