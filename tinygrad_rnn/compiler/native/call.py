"""Call: a region that can run: its code, the memory of each thread that calls it, and the parts of the batch."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...core.tensor import Array
from ...core.threads import allowed
from ..ir import Node, Shift
from ..vocabulary import uniform
from . import machine
from .loop import Loop
from .pool import POOL
from .region import Multiply, Region

WORTH_SHARING = 2e5
"""Nanoseconds of work below which a call stays in one thread: handing a part to another takes 34 microseconds."""
ROWS = 256
"""Rows of a chunk: steps times batch. Sums over time are products with so many terms."""
_ALIGNED = 16  # numbers, so that arrays begin on a line of the cache


class NativeLoop:
    """A region that can run: from the list of its arrays `run` makes one flat array of all results.

    Attributes:
        text: the code in LLVM's language.
        reads: what stands in the list of arrays.
        results: where each result begins in the flat array, and its shape.
        size: of the flat array.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.loop = loop = Loop(region, allowed())
        self.text = loop.module.text
        self.functions = machine.build(self.text, loop.vector.isa, part=5, pack=1)
        self.steps = region.hi - region.lo + 1
        self.reads = list(region.outside)
        self.results: dict[Node, tuple[int, tuple[int, ...]]] = {}
        for node, (at, _) in loop.sums.items():
            self.results[node] = at, node.shape
        self.sums_size = self.size = _up(loop.sums_size)
        for node, how in loop.kept.items():
            if how == "slab":
                first, last = region.held(node)
                shape = (last - first + 1, *node.shape)
                self.results[node] = self.size, shape
                self.size += _up(math.prod(shape))
        self.cost = region.batch * self.steps * _cost(region)
        self._own = threading.local()

    def run(self, arrays: Sequence[Array]) -> Array:
        parts = 1
        if self.cost >= WORTH_SHARING:
            parts = max(1, min(allowed(), self.region.batch // 4))
        buffers: _Buffers | None = getattr(self._own, "buffers", None)
        if buffers is None or buffers.parts != parts:
            buffers = self._own.buffers = _Buffers(self, parts)
        try:
            return buffers.run(arrays)
        except BaseException:
            self._own.buffers = None  # helpers may still write there
            raise


class _Buffers:
    """The memory of one thread that calls a loop, for a number of parts of the batch.

    Attributes:
        flats: arrays of results; one is used again when nothing but this list refers to it.
        unused: the count of references to such an array's memory.
    """

    def __init__(self, native: NativeLoop, parts: int) -> None:
        self.parts, self.size, self.dtype = parts, native.size, native.region.dtype
        loop, region = native.loop, native.region
        dtype = region.dtype
        room = -(-region.batch // parts)
        chunk = min(native.steps, max(1, ROWS // room)) if region.before or region.after else native.steps
        given: dict[Any, int] = {("steps",): native.steps, ("chunk",): chunk}
        depth = {"one": 1, "two": 2, "chunk": chunk}
        self.flats: list[Array] = []
        self.unused = sys.maxsize
        size = 0
        for node, how in loop.kept.items():
            width = node.shape[-1]
            if how == "slab":
                given["stride", node] = region.batch * width
            else:
                given["at", node], given["stride", node] = size, room * width
                size += _up(depth[how] * room * width)
        given["scratch",] = size
        size += _up(loop.scratch * chunk * room)
        self.work = _aligned(size * parts, dtype)
        self.packed = _aligned(loop.packed, dtype)
        self.sums = _aligned(native.sums_size * (parts - 1), dtype).reshape(parts - 1, native.sums_size)
        given["packed",] = machine.address(self.packed)
        for key in loop.slots:
            if key[0] == "number":  # its bits
                given[key] = int(np.float64(uniform(key[1].value)).view(np.int64))
        self.reads = [
            (loop.slot("address", read), loop.slots.get(("stride", read)), isinstance(read.when, Shift))
            for read in native.reads
        ]
        self.table = np.array([given.get(key, 0) for key in loop.slots], np.int64)
        self.part, self.pack = native.functions["part"], native.functions["pack"]
        self.table_at = machine.address(self.table)
        self.starts = [
            (loop.slots["address", node], at * dtype.itemsize)
            for node, (at, _) in native.results.items()
            if ("address", node) in loop.slots
        ]
        edges = [region.batch * i // parts for i in range(parts + 1)]
        work, sums = machine.address(self.work), [0, *map(machine.address, self.sums)]
        self.calls = [(work + i * size * dtype.itemsize, sums[i], *edge) for i, edge in enumerate(pairwise(edges))]

    def _flat(self) -> Array:
        """Memory for the results that nobody looks at any more, or else new."""
        for flat in self.flats:
            if sys.getrefcount(flat.base) == self.unused:
                return flat
        flat = _aligned(self.size, self.dtype)
        self.flats = [*self.flats[-1:], flat]
        for flat in self.flats[-1:]:  # counted as above
            self.unused = sys.getrefcount(flat.base)
        return flat

    def run(self, arrays: Sequence[Array]) -> Array:
        table, held = self.table, []
        for array, (slot, stride, timed) in zip(arrays, self.reads, strict=True):
            x = _dense(array, timed)
            if stride is not None:
                table[stride] = x.strides[0] // x.itemsize
            table[slot] = x.__array_interface__["data"][0]
            held.append(x)  # a copy lives until the end
        flat = self._flat()
        start = machine.address(flat)
        for i, at in self.starts:
            table[i] = start + at
        total = flat[: self.sums.shape[1]]
        total.fill(0)
        self.pack(self.table_at)
        if self.parts == 1:
            self._part(0, start)
        else:
            self.sums.fill(0)
            POOL.run(lambda i: self._part(i, start), self.parts, self.parts)
            for others in self.sums:  # in this order always, so that results are the same from run to run
                total += others
        return flat.view()  # whose memory is counted

    def _part(self, i: int, start: int) -> None:
        """Part i of the batch; its sums are those of the results for the first, and for the others their own."""
        work, sums, first, end = self.calls[i]
        self.part(self.table_at, work, sums or start, first, end)


def _up(n: int) -> int:
    return -(-n // _ALIGNED) * _ALIGNED


def _aligned(n: int, dtype: np.dtype[Any]) -> Array:
    raw = np.zeros(n * dtype.itemsize + 64, np.uint8)
    start = -machine.address(raw) % 64
    return raw[start : start + n * dtype.itemsize].view(dtype)


def _dense(x: Array, timed: bool) -> Array:
    """The array itself if the entries of a step lie without gaps, else a copy."""
    if type(x) is not np.ndarray:
        return np.array(x)  # a NumPy scalar, which has no memory of its own to read from
    even = timed and x.strides[0] % x.itemsize == 0 and x[0].flags.c_contiguous
    if x.flags.aligned and (x.flags.c_contiguous or even):
        return x
    return np.ascontiguousarray(x)


def _cost(region: Region) -> float:
    """About how many nanoseconds a row takes for a step."""
    products = [s for s in [*region.before, *region.steps] if isinstance(s, Multiply)]
    terms = sum(2 * m.K * m.N for m in products) + sum(2 * math.prod(c.node.shape) for c in region.after)
    slow = ("tanh", "sigmoid", "exp", "log")
    each = sum((0.3 if n.operation in slow else 0.05) * math.prod(n.shape[-1:]) for n in region.nodes)
    return terms / 100 + each
