"""Numbers over time: the yearly number of sunspots, or the columns of a CSV file, one step ahead."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...core.arguments import Seeding, Size, checked
from ...core.tensor import Array
from ...errors import InputError
from ...files import as_path, read_file
from ...train import predict
from .model import SequenceModel
from .task import Batch, Task, as_csv, dataset

LIMIT = 256 * 2**20
"""The largest file that is read, in bytes."""

LARGEST = 1e100
"""The largest number in a file that is trained on."""

SMALLEST = 1e-100
"""The least difference of the largest and the smallest number of a column that is trained on, if they differ."""


class Series(Task):
    """One of several numbers, one step ahead from all of them so far; the last fifth of the time is held out.

    The score is the root mean squared error over the time held out, in the unit of the number; `details` compares it
    with always answering the last one.

    Args:
        numbers: (T, I).
        target: which of the I is asked for.
        window: train on batches of so many steps, each from another place; None trains on all of them at once.
        scale: mean and standard deviation of each of the I, those of the time not held out if None.
        column: what the number is called.
    """

    classes_out = False
    last = False
    outputs = 1
    first_row = 1
    """The number of the first row, in what is printed."""

    @checked
    def __init__(
        self,
        numbers: Array,
        target: int,
        window: Size | None,
        batch: Size,
        seed: Seeding,
        dtype: DTypeLike,
        k2: Size | None = None,
        scale: tuple[Array, Array] | None = None,
        column: str = "number",
    ) -> None:
        super().__init__(batch, seed, dtype, k2)
        self.column, self.metric = column, f"error in {column}"  # type: ignore[misc]
        self.inputs = numbers.shape[1]
        self.numbers = numbers[:, target]
        self.split = len(numbers) * 4 // 5
        known = numbers[: self.split]
        if scale is None:
            scale = known.mean(axis=0), np.where(np.ptp(known, axis=0) > 0, known.std(axis=0), 1.0)
        self.scale = scale
        self.mean, self.std = float(scale[0][target]), float(scale[1][target])
        self.series = ((numbers - scale[0]) / scale[1]).astype(self.dtype)[:, None]
        self.target, self.window = target, window

    def batch(self, step: int) -> Batch:
        known = self.series[: self.split]
        if self.window is None or self.window >= self.split:
            windows = known
        else:
            starts = self.rng(step).integers(0, self.split - self.window, self.batch_size)
            windows = known[starts + np.arange(self.window + 1)[:, None], 0]
        return windows[:-1], windows[1:, :, self.target, None]

    def forecasts(self, model: SequenceModel) -> Array:
        """The answer for each step after the first, and for the one after the last: (T,)."""
        return predict(model, self.series, last=False)[:, 0, 0] * self.std + self.mean

    def score(self, model: SequenceModel) -> float:
        return _error(self.forecasts(model)[self.split - 1 : -1] - self.numbers[self.split :])

    def table(self, model: SequenceModel, rows: int) -> str:
        """The last numbers with what the model said of each beforehand, and what it says of the next one, as CSV."""
        first = max(1, len(self.numbers) + 1 - rows)
        said = [f"{number:.6g}" for number in self.forecasts(model)[first - 1 :]]
        right = [*(f"{number:.10g}" for number in self.numbers[first:]), ""]
        return as_csv(
            ("row", self.column, "forecast"), zip(itertools.count(first + self.first_row), right, said, strict=False)
        )

    def details(self, score: float) -> str:
        same = _error(self.numbers[self.split - 1 : -1] - self.numbers[self.split :])
        return f"{self.metric} {score:.4g} (the last number as the guess: {same:.4g})"


def _error(difference: Array) -> float:
    return float(np.sqrt(np.mean(difference**2)))


class Csv(Series):
    """A column of a CSV file, one row ahead, from all its columns of numbers; its last fifth of rows is held out.

    Args:
        file: UTF-8, its first row the names of the columns, separated by commas, semicolons or tabs.
        target: the name of the column.
        window: rows in a training window.
        columns: the names of those to read, by commas; None for all that hold numbers.
        known: what a checkpoint remembers of the file that the model was trained on, where this is another one: then
            all rows are scored, scaled as those were.

    Raises:
        InputError: the file cannot be used: what is wrong, and in which row and column.
    """

    first_row = 2  # as a spreadsheet and the messages about a file number them: the first one names the columns

    @checked
    def __init__(
        self,
        file: str | Path | None,
        target: str | None,
        window: Size,
        batch: Size,
        seed: Seeding,
        dtype: DTypeLike,
        k2: Size | None = None,
        columns: str | None = None,
        known: dict[str, Any] | None = None,
    ) -> None:
        if file is None or target is None:
            raise InputError("csv: give the file and the column to predict, --file F --target COLUMN")
        chosen = None if columns is None else [*(name.strip() for name in columns.split(",")), target]
        if known is not None:
            chosen = known["columns"]
        found, header = _columns(file, chosen)
        if not found:
            raise InputError(
                f"{file} has no column of numbers; a number is written with a point, such as 10.5, not 10,5"
            )
        self.digest = digest_of(file)
        self.names = list(dict.fromkeys(chosen or [*found, target]))
        lacking = [name for name in self.names if name not in found]
        if lacking:
            hint = _hint(lacking, header)
            raise InputError(f"{file} has no numbers named {', '.join(lacking)}; there are {', '.join(found)}{hint}")
        self.unread = [name for name in header if name not in self.names]
        numbers = np.stack([found[name] for name in self.names], axis=1)
        if len(numbers) < 20:
            raise InputError(f"{file}: got {len(numbers)} rows of numbers, expected at least 20")
        large = [name for name, column in zip(self.names, np.abs(numbers).max(axis=0), strict=True) if column > LARGEST]
        if large:
            raise InputError(
                f"{file}: {', '.join(large)} has numbers above {LARGEST:g}, which squared are infinite; scale it"
            )
        ranges = np.ptp(numbers[: len(numbers) * 4 // 5], axis=0)
        small = [name for name, extent in zip(self.names, ranges, strict=True) if 0 < extent < SMALLEST]
        if small and known is None:
            raise InputError(
                f"{file}: the numbers of {', '.join(small)} differ by less than {SMALLEST:g}, which squared is 0; "
                "scale it"
            )
        scale = None if known is None else (np.array(known["means"]), np.array(known["deviations"]))
        at = self.names.index(target)
        super().__init__(numbers, at, window, batch, seed, dtype, k2, scale, target)
        if known is not None and known["file"] != self.digest:
            self.split = 1  # nothing of it has been trained on

    def about(self) -> str:
        """Which columns are read, and which are not."""
        words = f"reads {', '.join(self.names)}"
        return f"{words}; leaves out {', '.join(self.unread)}" if self.unread else words

    def record(self) -> dict[str, Any]:
        mean, std = (numbers.tolist() for numbers in self.scale)
        return {"columns": self.names, "means": mean, "deviations": std, "file": self.digest}


def _hint(lacking: list[str], header: list[str]) -> str:
    """What to do about columns that were asked for and are not there, as far as it can be guessed."""
    if set(lacking) & set(header):
        return "; for a column of words add one of 0 and 1 for each word"
    if any(set(name.split(",")) <= set(header) for name in lacking):
        return "; --target takes one column, and several targets need some lines of Python (docs/howto/own_data.md)"
    return ""


def digest_of(path: str | Path) -> str:
    """By which a checkpoint knows its file again: the SHA-256."""
    return hashlib.sha256(_content(path)).hexdigest()


def _content(path: str | Path) -> bytes:
    try:
        return read_file(as_path(path, "csv"), LIMIT)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give the path of a CSV file") from error


@checked
def read_csv(path: str | Path, wanted: Sequence[str] | None = None) -> dict[str, Array]:
    """The columns of numbers of a CSV file by name.

    A column none of whose cells is a number, such as dates, is left out, and so is one with gaps that is not wanted.

    Raises:
        InputError: the file cannot be read, rows are of different lengths, or a cell among numbers is none.
    """
    return _columns(path, wanted)[0]


def _columns(path: str | Path, wanted: Sequence[str] | None) -> tuple[dict[str, Array], list[str]]:
    """The columns of numbers, and the names of all columns."""
    try:
        text = _content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); convert it, or give another file") from error
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path} is no CSV file: {error}; give another one") from error
    names = [name.strip() for name in rows[0]] if rows else []
    twice = [name for name, times in Counter(names).items() if times > 1]
    if len(rows) > 1 and twice and all(twice):
        raise InputError(f"{path}: two columns are named {', '.join(map(repr, twice))}; give them different names")
    if len(rows) < 2 or twice or not all(name.isprintable() and name for name in names):
        raise InputError(f"{path}: expected a first row of different names, and rows of numbers below it")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise InputError(f"{path}, row {number} has {len(row)} cells, expected {len(names)} as in the first")
    columns = {}
    for name, cells in zip(names, zip(*rows[1:], strict=True), strict=True):
        numbers = [_number(cell) for cell in cells]
        if any(number is not None for number in numbers):
            if None in numbers:
                if wanted is not None and name not in wanted:
                    continue
                at = numbers.index(None)
                raise InputError(
                    f"{path}, row {at + 2}: {name} is {cells[at]!r:.40}, expected a finite number; fill in such cells, "
                    "leave their rows out, or read other columns (--columns)"
                )
            columns[name] = np.array(numbers, np.float64)
    return columns, names


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@checked
def sunspots(seed: Seeding, dtype: DTypeLike, k2: Size | None = None) -> Series:
    """The yearly number of sunspots from 1700 on."""
    numbers = np.asarray(
        dataset("statsmodels.datasets", "statsmodels").sunspots.load_pandas().data["SUNACTIVITY"], np.float64
    )[:, None]
    return Series(numbers, 0, None, 1, seed, dtype, k2, column="sunspots")


__all__ = ["Csv", "Series", "digest_of", "read_csv", "sunspots"]
