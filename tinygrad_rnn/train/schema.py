"""What a checkpoint must be: all of it is compared with the run that it is for before any of it is used.

A digest says that a file is as it was written, not that a run of this version wrote it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..core.arguments import fits
from ..core.tensor import Array
from ..escape import short
from ..nn import Module
from ..optim import Optimizer
from .saved import Checkpoint

FIELDS: dict[str, type] = {
    "step": int,
    "best": float,
    "waited": int,
    "evaluated": int,
    "losses": float,
    "stopped": str,
    "generators": list,
    "version": str,
}
"""The entries of every run's record, beside its notes."""


class WrongError(Exception):
    """An entry, and what is wrong with it."""


def expect(true: object, entry: str, given: object, expected: str) -> None:
    """Raise a WrongError unless `true`."""
    if not true:
        raise WrongError(f"{entry}: got {short(given)}, expected {expected}")


def check_names(entry: str, given: Any, expected: Iterable[str]) -> None:
    """Whether there are these entries and no others."""
    missing, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing:
        raise WrongError(f"{entry}{missing[0]} is missing")
    if unknown:
        raise WrongError(f"{entry}{unknown[0]:.80} is unknown here")


def check_record(record: Any, notes: Mapping[str, type]) -> None:
    """The kinds of all entries.

    Args:
        record: what was read.
        notes: the kinds of the entries that this sort of run adds.
    """
    expect(fits(record, dict), "record", record, "entries by name")
    fields = {**FIELDS, **notes}
    check_names("record.", record, fields)
    for name, kind in fields.items():
        expect(fits(record[name], kind), f"record.{name}", record[name], f"a value of kind {kind.__name__}")
    version = record["version"]
    expect(re.fullmatch(r"\d+(\.\w+)+", version), "record.version", version, "a version, as 0.1.0")


def check_run(
    saved: Checkpoint,
    higher_is_better: bool,
    ends: Iterable[str],
    model: Module,
    optimizer: Optimizer,
    carried: Mapping[str, Array],
) -> None:
    """All that is not of the data.

    Args:
        saved: what was read.
        higher_is_better: whether larger scores are better.
        ends: how such a run may have stopped.
        model, optimizer: such as the run has.
        carried: arrays such as the state that is carried from update to update.
    """
    _check_progress(saved.record, higher_is_better, ends)
    _check_arrays(saved, model, optimizer, carried)
    _check_generators(saved.record["generators"], len(model.generators()))


def _check_progress(record: dict[str, Any], higher_is_better: bool, ends: Iterable[str]) -> None:
    """How far the run is, and which of the `ends` it has met."""
    step, best, waited, stopped = (record[name] for name in ("step", "best", "waited", "stopped"))
    expect(0 <= step < 2**63, "record.step", step, "a number of updates")
    expect(0 <= waited <= step, "record.waited", waited, f"0 to {step}, the number of updates")
    evaluated, losses = record["evaluated"], record["losses"]
    expect(0 <= evaluated <= step, "record.evaluated", evaluated, f"0 to {step}, the number of updates")
    expect(abs(losses) < 1e300 and (losses == 0 or evaluated < step), "record.losses", losses, "a sum of losses")
    none_yet = -math.inf if higher_is_better else math.inf
    expect(best == none_yet or abs(best) < 1e300, "record.best", best, "a score")
    expect(stopped in ends, "record.stopped", stopped, f"one of {', '.join(ends)}")


def _check_arrays(saved: Checkpoint, model: Module, optimizer: Optimizer, carried: Mapping[str, Array]) -> None:
    """Names, shapes, dtypes and finiteness of all arrays."""
    arrays, step = saved.arrays, saved.record["step"]
    own = {f"model.{name}": array for name, array in model.state_dict().items()}
    own |= {f"optimizer.{name}": array for name, array in optimizer.state_dict().items()}
    own |= carried
    check_names("", arrays, own)
    for name, expected in own.items():
        array = arrays[name]
        expect(array.shape == expected.shape, name, array.shape, f"the shape {expected.shape}")
        if name == "optimizer.lr":
            expected = np.array(0.0)  # an lr of 1 is a whole number until a schedule changes it
            expect(array.dtype.kind in "if" and array >= 0, name, array[()], "a learning rate, 0 or more")
        else:
            expect(array.dtype == expected.dtype, name, str(array.dtype), f"the dtype {expected.dtype}")
        expect(np.isfinite(array).all(), name, "nan or inf", "finite numbers")
        if name.endswith(".squares"):
            expect((array >= 0).all(), name, array.min(), "sums of squares, 0 or more")
        if name.endswith(".updates"):
            expect(0 <= int(array) <= step, name, int(array), f"a count of updates, 0 to {step}")
    expect(int(arrays["optimizer.steps"]) == step, "optimizer.steps", int(arrays["optimizer.steps"]), f"{step}")


def _check_generators(states: list[Any], n: int) -> None:
    """The states of n generators: each is one that a generator takes and gives back."""
    expect(len(states) == n, "record.generators", len(states), f"{n} of them")
    for i, given in enumerate(states):
        probe = np.random.PCG64()
        try:
            probe.state = given
            same = json.dumps(probe.state, sort_keys=True) == json.dumps(given, sort_keys=True)  # 1 is no true
        except (TypeError, ValueError, KeyError, OverflowError):
            same = False
        expect(same and given["state"]["inc"] % 2, f"record.generators[{i}]", given, "the state of a PCG64")


__all__ = ["WrongError", "check_names", "check_record", "check_run", "expect"]
