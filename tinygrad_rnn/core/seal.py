"""Seal: notices that a leaf's array changed between the forward pass that used it and the backward pass.

NumPy arrays have no version counter. But a leaf's memory is its own: others can only write to it through the array that
`Tensor.data` hands out, and a weak reference tells whether that array, or a view of it, still exists. While there is
none, nothing can change and nothing needs to be computed; around such a time, fingerprints are compared.
"""

from __future__ import annotations

from typing import Any
from weakref import ref
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .context import next_index
from .turn import Turn

_GIVING = Turn()

_SMALL = 1024
"""Arrays of so many bytes are compared as they are."""


class Seal:
    """What is known of one array; all tensors that show its memory share it.

    Args:
        array: the array; None where there is nothing to guard.
        foreign: whether it is the user's own, who may write to it at any time.

    Attributes:
        open: whether the array may have changed since it was last looked at.
        changed_at: a creation number; the results before it saw other values.
    """

    __slots__ = ("array", "changed_at", "fingerprint", "foreign", "given", "open")

    def __init__(self, array: NDArray[Any] | None, foreign: bool = False) -> None:
        self.array = array
        self.foreign = foreign
        self.open = array is not None
        self.changed_at = 0
        self.fingerprint: bytes | int | None = None
        """That of the values that the latest result saw; None while nothing has to be compared with them."""
        self.given: ref[NDArray[Any]] | None = None

    @property
    def exposed(self) -> bool:
        """Whether somebody outside could write to the array now."""
        return self.foreign or (self.given is not None and self.given() is not None)

    def hand_out(self) -> NDArray[Any]:
        """The array for somebody who may write to it; the same one as long as it is held."""
        given = None if self.given is None else self.given()
        if given is None:
            with _GIVING:  # else each of two threads gets an array of its own, and only one of these is watched
                given = None if self.given is None else self.given()
                if given is None:
                    given = self._give()
        return given

    def _give(self) -> NDArray[Any]:
        """Another array to hand out; `close` in another thread finds it, or leaves `open` False to be seen here."""
        assert self.array is not None
        given = np.asarray(self.array.data)  # so views of it keep it alive, not only the array behind it
        self.given = ref(given)
        used, self.open = not self.open, True
        if used and self.fingerprint is None:
            self.fingerprint = fingerprint(self.array)
        return given

    def close(self) -> None:
        """A result is about to use the array as it is now."""
        exposed = self.exposed
        if exposed or self.fingerprint is not None:
            found = fingerprint(self.array)
            if self.fingerprint is not None and found != self.fingerprint:
                self.changed_at = next_index()
            self.fingerprint = found
        if not exposed:
            self.open = False
            self.open = self.exposed  # another thread may have got the array meanwhile

    def change(self) -> NDArray[Any]:
        """The array for somebody who will write to it at once, and keep nothing of it."""
        assert self.array is not None
        self.changed_at = next_index()
        self.fingerprint = None
        return self.array

    def is_broken(self, first_use: int) -> bool:
        """Whether the array is another now than the result with this creation number saw."""
        if self.changed_at > first_use:
            return True
        return self.open and self.fingerprint is not None and self.fingerprint != fingerprint(self.array)


SEALED = Seal(None)
"""That of results: their arrays are handed out read-only."""


def fingerprint(array: NDArray[Any] | None) -> bytes | int:
    """Its entries, or where they are many a checksum of them."""
    assert array is not None
    return array.tobytes() if array.nbytes <= _SMALL else crc32(np.ascontiguousarray(array).data)
