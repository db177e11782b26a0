"""The states of a loop that was written without `tg.steps`, found where operations repeat themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

from ..core.tensor import Tensor
from ..debug.origin import place
from ..derivatives.checkpoint import holds_steps
from .structure import State, Structure, only_added

LEAST = 3
"""A loop is seen as one from so many iterations on."""

TRIES = 50
"""So many distances to the same line are tried as the length of an iteration: the line may run many times in it."""


def repeated(graph: Structure) -> list[list[State]]:
    """The layers of states of plain loops, as `Structure.layers` holds those of `tg.steps`.

    A loop is a stretch of the graph in which the same lines do the same operations on the same weights, again and
    again, and each iteration reads what the one before has made. Where this is not so in all of them there is none, and
    none where an iteration stands for several steps.
    """
    if any(map(holds_steps, graph.nodes)):
        return []
    marks = list(map(_mark, graph.nodes))
    return list(_within(graph, marks, 0, len(marks)))


def _within(graph: Structure, marks: Sequence[Hashable], low: int, high: int) -> Iterator[list[State]]:
    """The layers in a part of the graph; a loop that hands nothing on, as over sequences, may hold others."""
    for start, length, times in _stretches(marks, low, high):
        found = _layers(graph, graph.nodes[start : start + length * times], length)
        yield from found
        for k in range(0 if found else times):
            yield from _within(graph, marks, start + k * length, start + (k + 1) * length)


def _mark(node: Tensor) -> Hashable:
    """Equal for the same operation of the same line on the same weights."""
    weights = tuple(x.index for x in node.inputs if type(x) is Tensor and x.primitive is None and x.requires_grad)
    return place(node.origin), node.scope, node.primitive, weights


def _stretches(marks: Sequence[Hashable], low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """Where marks repeat themselves: where it begins, how long an iteration is, and how often it runs."""
    if high - low < LEAST:
        return
    middle = (low + high) // 2
    alike = [i for i in range(low, high) if marks[i] == marks[middle] and i != middle]
    size = length = end = 0  # of the longest stretch: a loop may hold a shorter one, whose iterations are nearer
    for at in sorted(alike, key=lambda i: abs(i - middle))[:TRIES]:
        apart, start = abs(at - middle), min(at, middle)
        same = start + 1  # marks are the same as those an iteration later, from start to here
        while start > low and marks[start - 1] == marks[start - 1 + apart]:
            start -= 1
        while same + apart < high and marks[same] == marks[same + apart]:
            same += 1
        times = (same + apart - start) // apart
        if times >= LEAST and times * apart > size:
            size, length, end = times * apart, apart, same + apart
        if size + length > high - low:
            break
    if size:
        yield from _stretches(marks, low, end - size)
        yield end - size, length, size // length
        yield from _stretches(marks, end, high)
        return
    yield from _stretches(marks, low, middle)
    yield from _stretches(marks, middle + 1, high)


def _layers(graph: Structure, nodes: list[Tensor], length: int) -> list[list[State]]:
    """What each iteration hands on to the next, a layer for each scope; none if one is handed nothing."""
    iteration = {node.index: at // length for at, node in enumerate(nodes)}
    totals = only_added(graph.loss, graph.nodes, graph.consumers, iteration)
    last = len(nodes) // length - 1
    rows: dict[str, list[list[Tensor]]] = defaultdict(list)
    for row in (nodes[at::length] for at in range(length)):
        ahead = [[iteration.get(user.index, k) - k for user, _ in graph.consumers(node)] for k, node in enumerate(row)]
        delay = min((n for each in ahead for n in each if n > 0), default=0)
        if delay and all(delay in each for each in ahead[: last + 1 - delay]) and row[0].index not in totals:
            rows[row[0].scope].append(row)
    return [[tuple(state) for state in zip(*group, strict=True)] for group in rows.values()]


__all__ = ["repeated"]
