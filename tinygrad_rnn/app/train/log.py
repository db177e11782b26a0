"""The log of a run: one line per evaluation, as JSON lines or CSV, that survives a kill at any moment."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import write_file

FIELDS = ("step", "loss", "gradient_norm", "score", "learning_rate", "tokens_per_second")


class Log:
    """Appends records to `log.jsonl` or `log.csv` in a folder.

    Args:
        folder: where the run lives.
        kind: "jsonl" or "csv".
        upto: when a run resumes at this step, later lines and a half-written last one are dropped:
            they will be written again.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, folder: str | Path, kind: str = "jsonl", upto: int = 0) -> None:
        if kind not in ("jsonl", "csv"):
            raise InputError(f"log: got {kind!r}, expected 'jsonl' or 'csv'")
        self.kind = kind
        self.path = Path(folder) / f"log.{kind}"
        kept = [record for record in read_log(self.path) if record["step"] <= upto] if self.path.exists() else []
        header = ",".join(FIELDS) + "\n" if kind == "csv" else ""
        write_file(self.path, header + "".join(map(self._line, kept)))

    def _line(self, record: dict[str, Any]) -> str:
        ordered = {name: record.get(name) for name in FIELDS}
        if self.kind == "jsonl":
            return json.dumps(ordered) + "\n"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow("" if v is None else v for v in ordered.values())
        return text.getvalue()

    def write(self, record: dict[str, Any]) -> None:
        """Append one line, as a whole."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(self._line(record))
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; make room and continue with --resume"
            ) from error


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log file; a line that a kill cut short is left out.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    whole = [line for line in lines if line.endswith("\n")]
    if Path(path).suffix == ".csv":
        rows = csv.DictReader(whole)
        return [{k: None if v == "" else int(v) if k == "step" else float(v) for k, v in row.items()} for row in rows]
    return [json.loads(line) for line in whole]


__all__ = ["FIELDS", "Log", "read_log"]
