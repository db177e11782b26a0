"""Several functions at once, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def together(*work: Callable[[], Any]) -> list[Any]:
    """What each gives, all begun at once; an error is what it gives too."""
    found: list[Any] = [None] * len(work)
    gate = threading.Barrier(len(work))

    def run(i: int) -> None:
        gate.wait(20)
        try:
            found[i] = work[i]()
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
