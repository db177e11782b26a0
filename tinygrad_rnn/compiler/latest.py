"""The latest entries of a cache that several threads use at once, without a lock, which a fork may leave taken."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def keep(cache: dict[K, V], key: K, value: V, most: int) -> None:
    """Make an entry the latest one, and keep no more than `most`.

    Each of these steps is whole for other threads, on free-threaded Python too, where an OrderedDict crashes.
    """
    cache.pop(key, None)
    cache[key] = value
    if len(cache) > most:
        for old in list(cache)[:-most]:
            cache.pop(old, None)


__all__ = ["keep"]
