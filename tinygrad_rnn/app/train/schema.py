"""What a checkpoint must be: all of it is compared with the run that it describes before any of it is used.

A digest says that a file is as it was written, not that a run of this version wrote it.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ...core.tensor import Array
from ...errors import InputError, TensorError
from .characters import Characters
from .model import SequenceModel
from .saved import Checkpoint, others
from .settings import Settings, is_of_kind
from .task import Task

FIELDS: dict[str, type] = {
    "settings": dict,
    "step": int,
    "best": float,
    "waited": int,
    "stopped": str,
    "generators": list,
    "task": dict,
    "version": str,
}


class _WrongError(Exception):
    """An entry, and what is wrong with it."""


def check(path: Path, saved: Checkpoint) -> None:
    """Compare a checkpoint with the run that its settings describe. No file that it names is opened.

    Args:
        path: where it was read, for the message.
        saved: what was read.

    Raises:
        InputError: an entry is missing, unknown, of a wrong kind, shape or dtype, not finite, or at odds with another.
    """
    try:
        _check_record(saved.record)
        settings = _settings(saved.record["settings"])
        task = _task(settings, saved.record["task"])
        _check_progress(saved.record, settings, task)
        _check_sizes(settings, saved.arrays)
        classes = len(saved.record["task"].get("characters", ""))
        model = settings.build_model(classes or task.inputs, classes or task.outputs, task.classes_in)
        _check_arrays(saved, settings, model)
        _check_generators(saved.record["generators"], len(model.generators()))
    except _WrongError as error:
        raise InputError(f"checkpoint {path}: {error}; {others(path)}") from error


def _expect(true: object, entry: str, given: object, expected: str) -> None:
    if not true:
        raise _WrongError(f"{entry}: got {given!r:.80}, expected {expected}")


def _names(entry: str, given: Any, expected: Any) -> None:
    missing, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing:
        raise _WrongError(f"{entry}{missing[0]} is missing")
    if unknown:
        raise _WrongError(f"{entry}{unknown[0]:.80} is unknown here")


def _check_record(record: Any) -> None:
    _expect(is_of_kind(record, dict), "record", record, "entries by name")
    _names("record.", record, FIELDS)
    for name, kind in FIELDS.items():
        _expect(is_of_kind(record[name], kind), f"record.{name}", record[name], f"a value of kind {kind.__name__}")
    version = record["version"]
    _expect(re.fullmatch(r"\d+(\.\w+)+", version), "record.version", version, "a version, as 0.1.0")


def _settings(values: dict[str, Any]) -> Settings:
    _names("settings.", values, [field.name for field in fields(Settings)])
    try:
        return Settings.from_dict(values)
    except TensorError as error:
        raise _WrongError(f"settings: {error}") from error


def _task(settings: Settings, record: dict[str, Any]) -> Task | type[Characters]:
    """The task as far as the model needs it: the text of a character model is not opened."""
    if settings.task != "char":
        _names("task.", record, ())
        try:
            return settings.build_task()
        except TensorError as error:
            raise _WrongError(f"settings: {error}") from error
    _names("task.", record, ("characters", "text"))
    characters, digest = record["characters"], record["text"]
    ordered = is_of_kind(characters, str) and characters and characters == "".join(sorted(set(characters)))
    _expect(ordered, "task.characters", characters, "each character of the text once, in order")
    _expect(
        is_of_kind(digest, str) and re.fullmatch("[0-9a-f]{64}", digest), "task.text", digest, "the SHA-256 of the text"
    )
    return Characters


def _check_progress(record: dict[str, Any], settings: Settings, task: Task | type[Characters]) -> None:
    step, best, waited, stopped = (record[name] for name in ("step", "best", "waited", "stopped"))
    _expect(0 <= step < 2**63, "record.step", step, "a number of updates")
    _expect(0 <= waited <= step, "record.waited", waited, f"0 to {step}, the number of updates")
    none_yet = -math.inf if task.higher_is_better else math.inf
    _expect(best == none_yet or abs(best) < 1e300, "record.best", best, "a score")
    possible = ["done", *(["early"] if settings.patience else []), *(["target"] if settings.target is not None else [])]
    _expect(stopped in possible, "record.stopped", stopped, f"one of {', '.join(possible)}")


def _check_sizes(settings: Settings, arrays: dict[str, Array]) -> None:
    """So that no model is built that is larger than the file."""
    head, embedded = arrays.get("model.head.weight"), arrays.get("model.embed.weight")
    for name, array, size in (("head", head, settings.hidden), ("embed", embedded, settings.embedding)):
        if name == "embed" and settings.task != "char":
            continue
        if array is None:
            raise _WrongError(f"model.{name}.weight is missing")
        _expect(array.shape[1:] == (size,), f"model.{name}.weight", array.shape, f"a shape of (any, {size})")
    _expect(settings.layers <= len(arrays), "settings.layers", settings.layers, "as many as there are arrays for")


def _check_arrays(saved: Checkpoint, settings: Settings, model: SequenceModel) -> None:
    arrays, step = saved.arrays, saved.record["step"]
    own = {f"model.{name}": array for name, array in model.state_dict().items()}
    own |= {f"optimizer.{name}": array for name, array in settings.build_optimizer(model).state_dict().items()}
    if settings.task == "char" and step:  # the state is carried from update to update
        zeros = model.zeros(settings.batch) if len(model.rnn.states) > 1 else (model.zeros(settings.batch),)
        own |= {f"carried.{i}": array for i, array in enumerate(zeros)}
    _names("", arrays, own)
    for name, expected in own.items():
        array = arrays[name]
        _expect(array.shape == expected.shape, name, array.shape, f"the shape {expected.shape}")
        if name == "optimizer.lr":
            expected = np.array(0.0)  # an lr of 1 is a whole number until a schedule changes it
            _expect(array.dtype.kind in "if" and array >= 0, name, array[()], "a learning rate, 0 or more")
        else:
            _expect(array.dtype == expected.dtype, name, str(array.dtype), f"the dtype {expected.dtype}")
        _expect(np.isfinite(array).all(), name, "nan or inf", "finite numbers")
        if name.endswith(".squares"):
            _expect((array >= 0).all(), name, array.min(), "sums of squares, 0 or more")
    _expect(int(arrays["optimizer.steps"]) == step, "optimizer.steps", int(arrays["optimizer.steps"]), f"{step}")


def _check_generators(states: list[Any], n: int) -> None:
    _expect(len(states) == n, "record.generators", len(states), f"{n} of them")
    for i, given in enumerate(states):
        entry = f"record.generators[{i}]"
        _expect(is_of_kind(given, dict), entry, given, "the state of a PCG64")
        _names(f"{entry}.", given, ("bit_generator", "state", "has_uint32", "uinteger"))
        _expect(given["bit_generator"] == "PCG64", f"{entry}.bit_generator", given["bit_generator"], "PCG64")
        _expect(is_of_kind(given["state"], dict), f"{entry}.state", given["state"], "state and inc")
        _names(f"{entry}.state.", given["state"], ("state", "inc"))
        numbers = {
            "has_uint32": (given["has_uint32"], 2),
            "uinteger": (given["uinteger"], 2**32),
            "state.state": (given["state"]["state"], 2**128),
            "state.inc": (given["state"]["inc"], 2**128),
        }
        for name, (value, end) in numbers.items():
            _expect(
                is_of_kind(value, int) and 0 <= value < end, f"{entry}.{name}", value, f"a whole number below {end}"
            )
        _expect(given["state"]["inc"] % 2, f"{entry}.state.inc", given["state"]["inc"], "an odd number")


__all__ = ["check"]
