"""What leaves this room: files by the ending of their name, and Matplotlib figures as bytes, one thread at a time.

Matplotlib's settings and its lock belong to the process. A fork waits until nothing is printed, since a child would
find that lock taken for ever by a thread that it does not have.
"""

from __future__ import annotations

import io
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import as_path, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


def printed(figure: Figure, kind: str, settings: Any = None, **options: Any) -> bytes:
    """The figure as "svg", "png" or "pdf", under these settings (`rc_context`); options as for `savefig`."""
    from matplotlib import rc_context

    out = io.BytesIO()
    with _LOCK, rc_context(settings):
        figure.savefig(out, format=kind, **options)
    return out.getvalue()


def saved(path: str | os.PathLike[str], forms: Mapping[str, Callable[[], str | bytes]]) -> Path:
    """Write one of several forms, by ending: the one that `path` ends in. The path is returned.

    Raises:
        InputError: another ending, or a place that cannot be written to.
    """
    target = as_path(path, "save")
    make = forms.get(target.suffix.lower())
    if make is None:
        *first, last = forms
        names = f"{', '.join(first)} or {last}" if first else last
        raise InputError(f"save: got {str(path)!r}, expected a file name that ends in {names}")
    return write_file(target, make())


def run_program(command: Sequence[str], given: bytes, seconds: float) -> bytes:
    """What a program prints, given this on its standard input.

    Raises:
        OSError: it cannot be run, or fails; `TimeoutError`: it takes longer than so many seconds.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{name} gave up after {seconds:g} seconds") from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError(f"{name} failed: {words[0] if words else f'exit code {done.returncode}'}")
    return done.stdout
