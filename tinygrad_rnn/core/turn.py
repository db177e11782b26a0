"""A lock for what one thread does at a time, which a process that forks does not leave taken in its child."""

from __future__ import annotations

from os import getpid
from threading import RLock


class Turn:
    """`with turn:` runs its body in one thread at a time; the same thread may enter again.

    A fork has only the thread that forked: what another one held is free there.
    """

    __slots__ = ("_lock", "_process")

    def __init__(self) -> None:
        self._lock, self._process = RLock(), getpid()

    def __enter__(self) -> None:
        if self._process != getpid():
            if not self._lock._is_owned():  # type: ignore[attr-defined]
                self._lock = RLock()
            self._process = getpid()
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
