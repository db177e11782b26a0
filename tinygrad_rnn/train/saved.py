"""Checkpoints: everything a run needs to continue, in one file that is either whole or refused.

A checkpoint is a safetensors file: arrays by name, and one JSON record beside them with a digest of
all of it. It is written to a temporary file, synced and renamed, so that a killed process or a full
disk leaves the last good one in place; two are kept, in case the newest is damaged later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.tensor import Array
from ..errors import InputError
from ..escape import is_plain
from ..files import as_path, read_file, write_file
from ..nn.tensorfile import require
from ..nn.weights import pack, unpack

KEPT = 2
BEST = "best.safetensors"
"""The weights of the best score, beside the checkpoints of a run."""


class Checkpoint(NamedTuple):
    """What a file holds: arrays by name, and a record of plain values."""

    arrays: dict[str, Array]
    record: dict[str, Any]


def save(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint whole or not at all.

    Raises:
        InputError: the place cannot be written to, or the disk is full; older files are untouched.
    """
    require()
    arrays = {name: np.array(array, order="C") for name, array in checkpoint.arrays.items()}
    return write_file(path, pack(arrays, checkpoint.record, "checkpoint"))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint and verify its digest.

    Raises:
        InputError: it cannot be read, is truncated, or any bit of it changed since it was written.
    """
    require()
    try:
        arrays, record = unpack(read_file(as_path(path, "checkpoint")), "checkpoint")
    except FileNotFoundError as error:
        raise InputError(f"there is no checkpoint {path}; give a run's folder or a checkpoint in it") from error
    except OSError as error:
        raise InputError(
            f"cannot read checkpoint {path}: {error.strerror or error}; give a run's folder or a checkpoint in it"
        ) from error
    except KeyError as error:
        raise InputError(
            f"{path} is not a checkpoint of a training run (it has no {error.args[0]}); {others(Path(path))}"
        ) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"checkpoint {path} is damaged or not one: {error}; {others(Path(path))}") from error
    for name in arrays:
        if not is_plain(name):
            raise InputError(f"checkpoint {path} holds an entry named {name!r:.120}; {others(Path(path))}")
    return Checkpoint(arrays, record)


def under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


# ---------------------------------------------------------------------- a folder of them
def path_of(folder: str | Path, step: int) -> Path:
    """Where the checkpoint of a step belongs."""
    return Path(folder) / f"step-{step:09d}.safetensors"


def save_step(folder: str | Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint of a step, then remove all but the newest two."""
    path = save(path_of(folder, step), checkpoint)
    for old in _by_age(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(
    folder: str | Path, check: Callable[[Path, Checkpoint], None] | None = None
) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint that is whole.

    Args:
        folder: where a run keeps them.
        check: raises InputError for one that must not be used.

    Returns:
        It, and what was wrong with each newer one that was refused.

    Raises:
        InputError: there is none.
    """
    refused: list[str] = []
    for path in _by_age(folder):
        try:
            saved = load(path)
            if check is not None:
                check(path, saved)
            return saved, refused
        except InputError as error:
            refused.append(str(error))
    reasons = f" ({'; '.join(refused)})" if refused else ""
    raise InputError(f"{folder} holds no usable checkpoint{reasons}; give the folder of a run, or begin another one")


def newer(folder: str | Path, step: int) -> list[Path]:
    """The checkpoints of later steps than this, the newest first."""
    return [path for path in _by_age(folder) if path.name > path_of(folder, step).name]


def others(path: Path) -> str:
    """What to do when the checkpoint at `path` is of no use: the newest of the others in its folder, by name."""
    found = [str(other) for other in _by_age(path.parent) if other != path]
    return f"use another one, such as {found[0]}" if found else "there is no other one beside it: begin the run again"


def _by_age(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob("step-*.safetensors"), reverse=True)


__all__ = ["BEST", "Checkpoint", "load", "load_newest", "newer", "others", "path_of", "save", "save_step", "under"]
