"""Something to know about a layer beside its reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something to know about a layer."""

    kind: str
    """"cut", "jump", "change", "dead units", "saturated", "directions", "other layer", "chaos" or "silent losses"."""
    value: float
    """The number that it is about: a share, a factor, a doubling time, ...; see the words."""
    words: str

    def __str__(self) -> str:
        return self.words


__all__ = ["Finding"]
