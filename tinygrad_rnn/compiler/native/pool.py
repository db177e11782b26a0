"""Pool: threads that run the parts of a batch.

Parts are claimed, not assigned: whoever is free takes the next one, so a helper that the machine wakes late costs
nothing but its help. Machine code runs without the interpreter's lock.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class Pool:
    """Helpers that wait for work; any number of threads may hand them some at once."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a fork has no threads but the one that forked, and may have inherited a lock that is taken."""
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._helpers = 0

    def run(self, function: Callable[[int], None], parts: int, threads: int) -> None:
        """Call function(0) to function(parts - 1), each once, in at most `threads` threads; the caller is one.

        Raises:
            BaseException: the first one that a part has raised, when all parts that were begun are done.
        """
        claim, done = itertools.count(), SimpleQueue[BaseException | None]()

        def work() -> None:
            while (part := next(claim)) < parts:
                error: BaseException | None = None
                try:
                    function(part)
                except BaseException as raised:
                    error = raised
                done.put(error)

        helpers = min(threads, parts) - 1
        self._hire(helpers)
        for _ in range(helpers):
            self._work.put(work)
        work()
        errors = [done.get() for _ in range(parts)]
        for error in errors:
            if error is not None:
                raise error

    def _hire(self, helpers: int) -> None:
        with self._lock:
            while self._helpers < helpers:
                self._helpers += 1
                threading.Thread(target=self._serve, args=(self._work,), name="tinygrad_rnn", daemon=True).start()

    @staticmethod
    def _serve(work: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            work.get()()


POOL = Pool()
"""The one pool of the process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
