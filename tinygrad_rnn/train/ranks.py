"""The processes of a run, each with its part of every batch: what they send each other, and how they wait.

MPI's own waiting asks again and again without a pause, which takes a shared core away from the rank that is waited
for. Here every wait is a request that is polled, with sleeps in between.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from ..core.tensor import Array
from ..errors import InputError, TensorError

LONGEST_PAUSE = 1e-3
"""Seconds between two looks at a message that does not come."""


SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
LOCAL_SIZES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
"""What mpiexec tells a process: how many there are, and how many on this machine."""


class Ranks:
    """One process alone, or those of an mpi4py communicator.

    Attributes:
        rank, size: which of how many this one is; rank 0 reads and writes files, prints and scores.
    """

    def __init__(self, comm: Any = None) -> None:
        if comm is not None and not hasattr(comm, "Iallreduce"):
            raise InputError(f"comm: got {type(comm).__name__}, expected a communicator of mpi4py, as MPI.COMM_WORLD")
        self.comm = comm if comm is not None and comm.size > 1 else None
        self.rank: int = 0 if self.comm is None else self.comm.rank
        self.size: int = 1 if self.comm is None else self.comm.size

    def threads(self) -> int | None:
        """For NumPy's linear algebra: a rank's share of the processors; None, as it is, for one process alone."""
        local = next((int(os.environ[name]) for name in LOCAL_SIZES if name in os.environ), self.size)
        return None if self.comm is None else max(1, (os.cpu_count() or 1) // local)

    def only_first(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """The same for rank 0, and for the others nothing."""
        return say if self.rank == 0 else lambda line: None

    def part(self, n: int) -> slice:
        """Which of n sequences are this rank's: parts differ by one at most, and may be empty."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def add(self, buffer: Array) -> None:
        """Put the sum of all ranks' buffers into each of them."""
        if self.comm is not None:
            _wait(self.comm.Iallreduce(buffer.copy(), buffer))

    def first(self, value: Any) -> Any:
        """What rank 0 gave."""
        if self.comm is None:
            return value
        _wait(self.comm.Ibarrier())  # so that nobody is waited for below
        return self.comm.bcast(value)

    def joined(self, arrays: Sequence[Array], axis: int) -> list[Array]:
        """Each array with the parts of all ranks side by side."""
        if self.comm is None:
            return list(arrays)
        _wait(self.comm.Ibarrier())
        parts = [part for part in self.comm.allgather(list(arrays)) if part]
        return [np.concatenate(same, axis=axis) for same in zip(*parts, strict=True)]

    def check_same(self, batch: tuple[Any, ...]) -> None:
        """Refuse batches that differ from rank 0's.

        Raises:
            InputError: they do.
        """
        if self.comm is not None:
            own = [zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in batch]
            if own != self.first(own):
                raise InputError(
                    f"rank {self.rank} read another batch than rank 0; give all ranks the same data: each takes "
                    "its own part of every batch"
                )

    def check_agreed(self, settings: Mapping[str, Any]) -> None:
        """Refuse settings that differ from rank 0's: the ranks would wait for each other for ever.

        Raises:
            InputError: they do.
        """
        theirs = self.first(settings)
        for name, value in settings.items():
            if value != theirs[name]:
                raise InputError(
                    f"rank {self.rank} has {name}={value} and rank 0 {theirs[name]}; make the same trainer on all "
                    "ranks, and call resume() on all or none"
                )

    @contextmanager
    def together(self) -> Iterator[None]:
        """If one rank fails, end all: the others would wait for it for ever."""
        try:
            yield
        except BaseException as error:
            if self.comm is None:
                raise
            end(self.comm, str(error) if isinstance(error, TensorError) else traceback.format_exc())


def world() -> Any:
    """The communicator of all processes that mpiexec began, None for one alone.

    Raises:
        InputError: there are several, and mpi4py is not installed.
    """
    if not any(int(os.environ.get(name, 1)) > 1 for name in SIZES):
        return None
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise InputError(
            "mpiexec began several processes, and mpi4py, by which they speak, is not installed: pip install "
            "'tinygrad_rnn[mpi]'"
        ) from error
    return MPI.COMM_WORLD


def end(comm: Any, message: str) -> NoReturn:
    """Say why, then end all ranks; rank 0 first, as most often all of them have the same to say."""
    time.sleep(0.0 if comm.rank == 0 else 0.5)
    print(f"rank {comm.rank} of {comm.size}: {message}", file=sys.stderr, flush=True)
    comm.Abort(2)
    raise SystemExit(2)  # MPI may give control back before it ends this process


def _wait(request: Any) -> None:
    pause = 0.0  # which lets others run, and costs next to nothing where the message is there
    while not request.Test():
        time.sleep(pause)
        pause = min(pause + 2e-5, LONGEST_PAUSE)


__all__ = ["Ranks", "end", "world"]
