"""The log of a run: one line per evaluation, as JSON lines, that survives a kill at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..core.arguments import Count, checked
from ..errors import InputError
from ..files import as_path, read_file, write_file

T = TypeVar("T")

FIELDS = ("step", "loss", "gradient_norm", "score", "learning_rate", "time_steps_per_second")
LIMIT = 256 * 2**20
"""The largest log that is read, in bytes."""


class Log:
    """Appends records to `log.jsonl` in a folder.

    Args:
        folder: where the run lives.
        upto: when a run resumes at this step, later lines and a half-written last one are dropped:
            they will be written again.

    Raises:
        InputError: the file cannot be written.
    """

    @checked
    def __init__(self, folder: str | Path, upto: Count = 0) -> None:
        self.path = Path(folder) / "log.jsonl"
        kept = [record for record in read_log(self.path) if record["step"] <= upto] if self.path.exists() else []
        write_file(self.path, "".join(map(_line, kept)))

    def write(self, record: dict[str, Any]) -> None:
        """Append one line, as a whole."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(_line(record))
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; make room and continue with --resume"
            ) from error


@checked
def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log file; a line that a kill cut short is left out.

    Raises:
        InputError: the file cannot be read, or a whole line is no record.
    """
    return read_lines(as_path(path, "read_log"), _checked)


def read_lines(path: Path, read: Callable[[Any], T]) -> list[T]:
    """What `read` makes of each line of a JSON lines file; a last one that a kill cut short is left out.

    Raises:
        InputError: the file cannot be read, or `read` or the form of a line raised an error.
    """
    try:
        lines = read_file(path, LIMIT).decode("utf-8").split("\n")[:-1]
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; give the log of a run, log.jsonl in its folder"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); move it away to begin another log") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(read(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path}, line {number} is no record of a run: {error}; move the file away to begin another log"
            ) from error
    return records


def _line(record: dict[str, Any]) -> str:
    return json.dumps({name: record.get(name) for name in FIELDS}) + "\n"


def _checked(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict) or set(record) != set(FIELDS):
        raise ValueError(f"expected {', '.join(FIELDS)}")
    for name, value in record.items():
        kinds = int if name == "step" else int | float | None
        if not isinstance(value, kinds) or isinstance(value, bool) or (name == "step" and value < 0):
            raise ValueError(f"{name} is {value!r:.40}")
    return record


__all__ = ["FIELDS", "Log", "read_lines", "read_log"]
