"""Runs that are killed, or refused by the system, at any moment of their writing continue bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number"),
    [("kill", 100), ("ENOSPC", 12), ("EROFS", 6), ("EMFILE", 6), ("EACCES", 6), ("memory", 8), ("removed", 8)],
)
def test_nothing_is_lost(kind: str, number: int, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(Path(__file__).with_name("kills.py")), str(tmp_path), kind, str(number)]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.stdout == f"{number} phases\n", done.stdout + done.stderr
