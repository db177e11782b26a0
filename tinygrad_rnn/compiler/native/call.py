"""Call: a loop that can run: its code, the memory of each thread that calls it, and the parts of the batch."""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ...core.cached import cached
from ...core.tensor import Array
from ...core.threads import allowed
from . import machine
from .loop import ARRAYS, FIT, LOOK, RESULTS, STATE, UNFIT, Written
from .pool import POOL

WORTH_SHARING = 8e5
"""Nanoseconds of work below which a call stays in one thread: another one may wake 100 microseconds late."""
LEAST = 4
"""Rows of the smallest part of a batch."""
ROWS = 256
"""Rows of a chunk: steps times batch. Sums over time are products with so many terms."""
_SIZES = 2  # for so many sizes each thread keeps the memory


class NativeLoop:
    """A loop that can run: from its arrays and sizes it makes its sums, and the rows of what others read."""

    def __init__(self, written: Written) -> None:
        self.written = written
        self._own = threading.local()

    @cached
    def functions(self) -> dict[str, Callable[..., None]]:
        return machine.build(self.written.text, self.written.isa, part=2, pack=1, run=1)

    def build_soon(self) -> None:
        """Begin to build it in another thread: LLVM does without the interpreter, and whoever will call it goes on."""
        if "functions" not in self.__dict__:
            with suppress(RuntimeError):  # no other thread may be begun
                threading.Thread(target=lambda: self.functions, name="tinygrad_rnn build").start()

    def run(
        self, arrays: Sequence[Array], steps: int, batch: int, rows: tuple[int, ...], numbers: tuple[float, ...]
    ) -> Sequence[Array]:
        """Its results are the caller's until nobody refers to any of them: then their memory is used again.

        Args:
            arrays: what it reads.
            steps: of the loop.
            batch: rows of each array.
            rows: for each node that is in memory how many steps it may hold, initial values included.
            numbers: that it reads.
        """
        parts = 1
        if batch * steps * self.written.cost >= WORTH_SHARING:
            parts = max(1, min(allowed(), batch // LEAST))
        key = steps, batch, rows, numbers, parts
        kept: dict[Any, _Memory] = self._own.__dict__
        memory = kept.pop(key, None) or _Memory(self, *key)
        results = memory.run(arrays)  # if this is interrupted, helpers may still write there, so it is not kept
        kept[key] = memory
        if len(kept) > _SIZES:
            for old in [*kept][:-_SIZES]:  # a signal's handler may call it too, here as anywhere
                kept.pop(old, None)
        return results


class _Memory:
    """What one thread needs to call a loop at some sizes, for a number of parts of the batch: all but its arrays.

    Attributes:
        results: memory for the results and the arrays in it, twice if the caller keeps some of the first.
        unused: the count of references to that memory when only this object has it.
    """

    def __init__(
        self, native: NativeLoop, steps: int, batch: int, rows: Sequence[int], numbers: Sequence[float], parts: int
    ) -> None:
        self.functions, self.parts, written = native.functions, parts, native.written
        self.timed = written.timed
        self.dtype = dtype = np.dtype(np.float32 if written.single else np.float64)
        room = -(-batch // parts)
        chunk = min(steps, max(1, ROWS // room)) if written.chunked else steps
        depth = {"one": 1, "two": 2, "chunk": chunk}
        self.sums_size = self.size = _up(sum(math.prod(shape) for _, shape in written.sums))
        size, self.shapes, kept = 0, list(written.sums), []
        for i, (how, width) in enumerate(written.kept):
            if how == "slab":
                kept += [self.size, batch * width]
                self.shapes.append((self.size, (rows[i], *(() if written.vectors else (batch,)), width)))
                self.size += _up(rows[i] * batch * width)
            else:
                kept += [size, room * width]
                size += _up(depth[how] * room * width)
        scratch = size
        size += _up(written.scratch * chunk * room)
        work, packed = _aligned(size * parts, dtype), _aligned(written.packed, dtype)
        self.sums = _aligned(self.sums_size * (parts - 1), dtype).reshape(parts - 1, self.sums_size)
        edges = [batch * i // parts for i in range(parts + 1)]
        own = [(machine.address(work) + i * size * dtype.itemsize, *edge) for i, edge in enumerate(pairwise(edges))]
        sums = [0, *map(machine.address, self.sums)]  # those of the first part are the results themselves
        each = np.array([(*entries, at) for entries, at in zip(own, sums, strict=True)], np.int64)
        memory = machine.address(packed), machine.address(each), scratch
        bits = np.array(numbers, np.float64).view(np.int64).tolist()
        table = [0, 0, 0, id(np.ndarray), id(dtype), *memory, steps, chunk, *kept, *bits]
        self.table = (ctypes.c_int64 * len(table))(*table)
        self.table_at = ctypes.addressof(self.table)
        self.held = work, packed, each
        self.results: list[tuple[Array, int, list[Array]]] = []
        self.unused = 0

    def _free(self) -> tuple[int, list[Array]]:
        """Memory for results that nobody looks at any more, or else new: its address, its sums, and each result."""
        for raw, start, arrays in self.results:
            if sys.getrefcount(raw) == self.unused:
                return start, arrays
        raw, whole = _flat(self.size, self.dtype)
        start, arrays = machine.address(whole), [whole[: self.sums_size]]
        arrays += [whole[at : at + math.prod(shape)].reshape(shape) for at, shape in self.shapes]
        self.results = [*self.results[-1:], (raw, start, arrays)]
        del whole
        self.unused = sys.getrefcount(raw)
        return start, arrays

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        table, (start, (total, *results)) = self.table, self._free()
        begin = self.functions["run" if self.parts == 1 else "pack"]
        arrays = tuple(arrays)
        table[RESULTS], table[ARRAYS], table[STATE] = start, id(arrays) + machine.ITEMS, LOOK
        begin(self.table_at)
        if table[STATE] == UNFIT:
            arrays = tuple(_dense(x, timed, self.dtype) for x, timed in zip(arrays, self.timed, strict=True))
            table[ARRAYS], table[STATE] = id(arrays) + machine.ITEMS, FIT
            begin(self.table_at)
        if self.parts > 1:
            POOL.run(partial(self._part, arrays), self.parts, self.parts)
            for others in self.sums:  # in this order always, so that results are the same from run to run
                total += others
        return [x.view() for x in results]  # whose memory is counted

    def _part(self, _arrays: tuple[Array, ...], i: int) -> None:
        """Compute a part; where the call was interrupted meanwhile, nobody else holds the arrays and the memory."""
        self.functions["part"](self.table_at, i)


def _up(n: int) -> int:
    """So that arrays begin on a line of the cache."""
    return -(-n // 16) * 16


def _flat(n: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Memory, and the n numbers in it that begin on a line of the cache."""
    raw = np.zeros(n * dtype.itemsize + 64, np.uint8)
    start = -machine.address(raw) % 64
    return raw, raw[start : start + n * dtype.itemsize].view(dtype)


def _aligned(n: int, dtype: np.dtype[Any]) -> Array:
    return _flat(n, dtype)[1]


def _dense(x: Array, timed: bool, dtype: np.dtype[Any]) -> Array:
    """The array itself if it is of that dtype and the entries of a step lie without gaps, else a copy."""
    if type(x) is not np.ndarray or (x.dtype is not dtype and x.dtype != dtype):
        x = np.array(x, dtype)  # a NumPy scalar, which is no array's object, or a mask
    flags = x.flags
    if flags.c_contiguous and flags.aligned:
        return x
    if timed and flags.aligned and x.strides[0] % x.itemsize == 0 and x[0].flags.c_contiguous:
        return x
    return np.ascontiguousarray(x)
