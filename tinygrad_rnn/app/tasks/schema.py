"""What the checkpoint of a task must be: settings first, then the model that they describe, then its arrays."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ...core.arguments import fits
from ...core.tensor import Array
from ...errors import InputError, TensorError
from ...train.saved import Checkpoint, others
from ...train.schema import WrongError, check_names, check_record, check_run, expect
from .settings import Settings


def check(path: Path, saved: Checkpoint) -> None:
    """Compare a checkpoint with the run that its settings describe. No file that it names is opened.

    Args:
        path: where it was read, for the message.
        saved: what was read.

    Raises:
        InputError: an entry is missing, unknown, of a wrong kind, shape or dtype, not finite, or at odds with another.
    """
    try:
        check_record(saved.record, {"settings": dict, "task": dict})
        settings = _settings(saved.record["settings"])
        higher_is_better = _check_data(settings, saved.record["task"])
        _check_sizes(settings, saved.arrays)
        model = settings.model_of(saved.record["task"])
        carried = {}
        if settings.task == "char" and saved.record["step"]:  # the state is carried from update to update
            zeros = model.zeros(settings.batch)
            carried = {f"carried.{i}": array for i, array in enumerate(zeros if isinstance(zeros, tuple) else (zeros,))}
        check_run(saved, higher_is_better, settings.ends(), model, settings.build_optimizer(model), carried)
    except WrongError as error:
        raise InputError(f"checkpoint {path}: {error}; {others(path)}") from error


def _settings(values: dict[str, Any]) -> Settings:
    check_names("settings.", values, [field.name for field in fields(Settings)])
    try:
        return Settings.of(**values)
    except TensorError as error:
        raise WrongError(f"settings: {error}") from error


def _check_data(settings: Settings, record: dict[str, Any]) -> bool:
    """What is remembered of the data; gives whether a higher score is better. No text or CSV file is opened."""
    if settings.task == "char":
        check_names("task.", record, ("characters", "text"))
        characters = record["characters"]
        ordered = fits(characters, str) and characters and characters == "".join(sorted(set(characters)))
        expect(ordered, "task.characters", characters, "each character of the text once, in order")
        _check_digest("text", record["text"])
        return False
    if settings.task == "csv":
        check_names("task.", record, ("columns", "means", "deviations", "file"))
        columns, mean, std = record["columns"], record["means"], record["deviations"]
        named = _all(columns, str) and settings.target in columns and len(set(columns)) == len(columns)
        expect(named, "task.columns", columns, "names of columns")
        finite = _all(mean, float) and len(mean) == len(columns) and np.isfinite(mean).all()
        expect(finite, "task.means", mean, "a number for each column")
        positive = _all(std, float) and len(std) == len(columns) and np.isfinite(std).all() and min(std) > 0
        expect(positive, "task.deviations", std, "a positive number for each column")
        _check_digest("file", record["file"])
        return False
    check_names("task.", record, ())
    try:
        return settings.build_task().higher_is_better
    except TensorError as error:
        raise WrongError(f"settings: {error}") from error


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(fits(value, kind) for value in values)


def _check_digest(name: str, given: Any) -> None:
    right = fits(given, str) and re.fullmatch("[0-9a-f]{64}", given)
    expect(right, f"task.{name}", given, f"the SHA-256 of the {name}")


def _check_sizes(settings: Settings, arrays: dict[str, Array]) -> None:
    """So that no model is built that is larger than the file."""
    head, embedded = arrays.get("model.head.weight"), arrays.get("model.embed.weight")
    for name, array, size in (("head", head, settings.hidden), ("embed", embedded, settings.embedding)):
        if name == "embed" and settings.task != "char":
            continue
        if array is None:
            raise WrongError(f"model.{name}.weight is missing")
        expect(array.shape[1:] == (size,), f"model.{name}.weight", array.shape, f"a shape of (any, {size})")
    expect(settings.layers <= len(arrays), "settings.layers", settings.layers, "as many as there are arrays for")


__all__ = ["check"]
