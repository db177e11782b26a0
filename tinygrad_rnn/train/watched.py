"""What `train --watch` notes of a model's memory: a row a look in `watch.jsonl`, and one picture of all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from ..core.tensor import Tensor
from ..files import write_file
from ..flow import Look, Watch
from .log import read_lines

SEQUENCES = 8
"""So many sequences of a batch are looked at."""

SHARE = 0.05
"""Of the time of a run, looks take no more than this where it is not said how often to look."""


class Watched:
    """The looks at a run's model.

    Args:
        every: updates between looks; "auto": so many that the looks take less than 5 % of the time.
        folder: where `watch.jsonl` and `watch.svg` go; None keeps nothing.
        upto: when a run resumes at this step, later rows are dropped: they will be written again.

    Raises:
        InputError: the file cannot be read or written, or is no such file.
    """

    def __init__(self, every: int | Literal["auto"], folder: Path | None, upto: int) -> None:
        self.every = every
        self.path = None if folder is None else folder / "watch.jsonl"
        kept = [] if self.path is None or not self.path.exists() else read_lines(self.path, _look)
        self.watch = Watch(look for look in kept if look.update <= upto)
        self.began, self.spent, self.last = perf_counter(), 0.0, 0.0
        self._write()

    def due(self, step: int) -> bool:
        """Whether to look before the update of this number."""
        if self.every != "auto":
            return step % self.every == 0
        return self.spent + self.last <= SHARE * (perf_counter() + self.last - self.began)

    def note(self, loss_of: Callable[[], Tensor], step: int) -> str:
        """Look at the graph of a loss, before the update of this number; what is to be said of it."""
        began = perf_counter()
        found = self.watch(loss_of(), step)
        self._write()
        self.last = perf_counter() - began
        self.spent += self.last
        return found.warning or str(found)

    def cost(self) -> str | None:
        """A line on what the looks have cost, where that is more than it need be."""
        share = self.spent / (perf_counter() - self.began)
        if len(self.watch.looks) < 2 or share <= SHARE:
            return None
        return f"the looks took {share:.0%} of the time; `--watch auto` takes less than {SHARE:.0%}"

    def _write(self) -> None:
        if self.path is not None and (self.watch.looks or self.path.exists()):
            rows = (json.dumps(look.record()) + "\n" for look in self.watch.looks)
            write_file(self.path, "".join(rows))

    def draw(self) -> None:
        """Write `watch.svg`, all looks in one picture."""
        if self.path is not None and self.watch.looks:
            from matplotlib.figure import Figure

            from ..viz import plots

            figure = Figure(figsize=(8, 7), layout="constrained")
            plots.watch(self.watch.looks, figure.subplots(3, 1))
            figure.savefig(self.path.with_name("watch.svg"))


def _look(row: Any) -> Look:
    if not isinstance(row, dict) or not isinstance(row.get("update"), int):
        raise ValueError("expected a look")
    return Look.of(row)


__all__ = ["Watched"]
