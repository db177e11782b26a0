"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


def write_file(path: str | Path, content: str | bytes) -> Path:
    """Write `content` to `path` all at once: whatever fails, the old file stays whole.

    Raises:
        InputError: the place cannot be written to.
    """
    target = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", dir=target.parent)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}; choose another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {target}: {error.strerror}; choose another place") from error
        raise
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def staged(directory: str | Path) -> Iterator[Path]:
    """A temporary folder whose files move into `directory` when the block succeeds, and vanish if it fails.

    Raises:
        InputError: `directory` cannot be made or written to; this is found out before the block runs.
    """
    if not str(directory):
        raise InputError("the name of the folder to write to is empty; give a folder")
    target = Path(directory)
    made = [parent for parent in (target, *target.parents) if not parent.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=target))
    except OSError as error:
        _remove_empty(made)
        raise InputError(f"cannot write to {target}: {error.strerror}; choose another folder") from error
    try:
        yield stage
        for file in sorted(stage.iterdir()):
            os.replace(file, target / file.name)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(made)
        raise
    shutil.rmtree(stage, ignore_errors=True)


def _remove_empty(directories: list[Path]) -> None:
    for directory in directories:
        try:
            directory.rmdir()
        except OSError:
            return
