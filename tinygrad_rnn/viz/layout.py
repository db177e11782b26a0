"""Where the few boxes of one time step go, row by row: order by barycentre, straight columns.

Steps are alike, so a step is laid out once and tiled; nothing here knows of tensors or of drawing. The
horizontal coordinates follow Brandes and Köpf, "Fast and simple horizontal coordinate assignment" (2001):
every vertex aligns with the median of its neighbours, in four directions, and the four are averaged.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from math import fsum

BEND_WIDTH = 6.0
"""What an edge that passes a row needs of it."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One step, laid out. The left end is 0."""

    xs: list[float]
    """The middle of each box."""
    bends: list[list[float]]
    """For each edge the x at which it passes each row between its ends, from the bottom up."""
    width: float
    order: list[list[int]]
    """Boxes and bends (numbered after the boxes) of each row, from left to right."""


def tile(
    widths: Sequence[float],
    rows: Sequence[int],
    edges: Sequence[tuple[int, int]],
    pulls: Sequence[int],
    gap: float = 12.0,
) -> Tile:
    """Place the boxes of one step.

    Args:
        widths: of each box.
        rows: the row of each box; every edge leads upward.
        edges: pairs (input, box).
        pulls: -1 for boxes with an edge from the left of the step, 1 from its right, else 0.
        gap: the least distance of neighbours.
    """
    size = list(widths)
    row = list(rows)
    pull = list(pulls)
    below: dict[int, list[int]] = defaultdict(list)
    above: dict[int, list[int]] = defaultdict(list)
    chains: list[list[int]] = []
    for source, target in edges:
        levels = range(row[source] + 1, row[target])
        chains.append(list(range(len(size), len(size) + len(levels))))
        size += [BEND_WIDTH] * len(levels)
        row += levels
        pull += [0] * len(levels)
        for lower, upper in pairwise([source, *chains[-1], target]):
            above[lower].append(upper)
            below[upper].append(lower)
    layers: list[list[int]] = [[] for _ in range(max(row, default=-1) + 1)]
    for vertex, level in enumerate(row):
        layers[level].append(vertex)
    layers = _order(layers, below, above, pull)
    xs = _coordinates(layers, below, above, size, gap)
    left = min((x - w / 2 for x, w in zip(xs, size, strict=True)), default=0.0)
    right = max((x + w / 2 for x, w in zip(xs, size, strict=True)), default=0.0)
    xs = [round(x - left, 2) for x in xs]
    return Tile(xs[: len(widths)], [[xs[bend] for bend in chain] for chain in chains], round(right - left, 2), layers)


def _order(
    layers: list[list[int]], below: dict[int, list[int]], above: dict[int, list[int]], pull: list[int]
) -> list[list[int]]:
    """Sweep up and down, each vertex to the barycentre of its neighbours; keep the order with fewest crossings."""
    best, cost = layers, _cost(layers, below, pull)
    sweeps = 12 if len(pull) < 500 else 4
    for sweep in range(sweeps):
        upward = sweep % 2 == 0
        neighbours = below if upward else above
        layers = [list(layer) for layer in layers]
        place: dict[int, float] = {}
        for layer in layers if upward else reversed(layers):
            keys = {}
            for at, vertex in enumerate(layer):
                here = (at + 0.5) / len(layer)
                near = [place[n] for n in neighbours[vertex]] or [here]
                if pull[vertex]:
                    near.append(0.5 + pull[vertex])
                keys[vertex] = fsum(near) / len(near)
            layer.sort(key=keys.__getitem__)
            place.update((vertex, (at + 0.5) / len(layer)) for at, vertex in enumerate(layer))
        now = _cost(layers, below, pull)
        if now < cost:
            best, cost = layers, now
    return _switch(best, below, pull, cost) if len(pull) < 120 else best


def _switch(layers: list[list[int]], below: dict[int, list[int]], pull: list[int], cost: float) -> list[list[int]]:
    """Exchange neighbours as long as that helps."""
    improved = True
    while improved and cost:
        improved = False
        for layer in layers:
            for at in range(len(layer) - 1):
                layer[at], layer[at + 1] = layer[at + 1], layer[at]
                now = _cost(layers, below, pull)
                if now < cost:
                    cost, improved = now, True
                else:
                    layer[at], layer[at + 1] = layer[at + 1], layer[at]
    return layers


def _cost(layers: list[list[int]], below: dict[int, list[int]], pull: list[int]) -> float:
    """Crossings, and a little for every box that stands between a pulled one and its side."""
    total = 0.0
    for lower, upper in pairwise(layers):
        place = {vertex: at for at, vertex in enumerate(lower)}
        seen: list[int] = []
        for vertex in upper:
            ends = sorted(place[n] for n in below[vertex])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    for layer in layers:
        for at, vertex in enumerate(layer):
            if pull[vertex]:
                total += 0.45 * (at if pull[vertex] < 0 else len(layer) - 1 - at)
    return total


def _coordinates(
    layers: list[list[int]],
    below: dict[int, list[int]],
    above: dict[int, list[int]],
    size: list[float],
    gap: float,
) -> list[float]:
    if not size:
        return []
    found: list[list[float]] = []
    for upward in (True, False):
        for mirrored in (False, True):
            sequence = layers if upward else layers[::-1]
            sequence = [layer[::-1] for layer in sequence] if mirrored else sequence
            xs = _compact(sequence, _aligned(sequence, below if upward else above), size, gap)
            found.append([-x for x in xs] if mirrored else xs)
    spans = [max(xs) - min(xs) for xs in found]
    narrow = found[spans.index(min(spans))]
    for number, xs in enumerate(found):
        move = max(narrow) - max(xs) if number % 2 else min(narrow) - min(xs)
        found[number] = [x + move for x in xs]
    middle = [sorted(four)[1:3] for four in zip(*found, strict=True)]
    return [(a + b) / 2 for a, b in middle]


def _aligned(layers: list[list[int]], neighbours: dict[int, list[int]]) -> list[int]:
    """For each vertex the root of its block: a run of vertices, one per layer, that share one x."""
    place = {vertex: at for layer in layers for at, vertex in enumerate(layer)}
    root = list(range(len(place)))
    for layer in layers:
        reached = -1
        taken: set[int] = set()
        for vertex in layer:
            near = sorted(neighbours[vertex], key=place.__getitem__)
            if not near:
                continue
            middle = len(near) // 2
            for candidate in near[middle - 1 + len(near) % 2 : middle + 1]:
                if place[candidate] > reached and candidate not in taken:
                    root[vertex] = root[candidate]
                    reached = place[candidate]
                    taken.add(candidate)
                    break
    return root


def _compact(layers: list[list[int]], root: list[int], size: list[float], gap: float) -> list[float]:
    """Every block as far left as its left neighbours allow."""
    before: dict[int, list[tuple[int, float]]] = {block: [] for block in root}
    for layer in layers:
        for left, right in pairwise(layer):
            before[root[right]].append((root[left], (size[left] + size[right]) / 2 + gap))
    at: dict[int, float] = {}
    order = TopologicalSorter({block: {other for other, _ in near} for block, near in before.items()})
    for block in order.static_order():
        at[block] = max((at[other] + distance for other, distance in before[block]), default=0.0)
    return [at[block] for block in root]
