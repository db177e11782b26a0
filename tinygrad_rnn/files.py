"""Files: read only where they are files, and written so that a reader never meets half of one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError
from .escape import short

fcntl: Any = None
msvcrt: Any = None
try:
    import fcntl
except ImportError:  # Windows
    import msvcrt


def as_path(path: Any, what: str) -> Path:
    """`path` as a Path.

    Args:
        path: text or a `pathlib.Path`.
        what: who asks, for the message.

    Raises:
        InputError: it is of another kind, empty, or no name that a file can have.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InputError(f"{what}: got {short(path)}, expected a path, as text or Path")
    if not str(path):
        raise InputError(f"{what}: the path is empty; name a file")
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeError:
        possible = False
    if not possible:
        raise InputError(f"{what}: {str(path)!r:.120} holds NUL or a lone surrogate; change the name")
    return Path(path)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file.

    Args:
        path: where it is.
        limit: the largest size to read.

    Raises:
        OSError: it is not there, larger than `limit`, or a folder, pipe, socket or device, which may never end.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
            raise OSError(errno.EINVAL, f"it is {kind}, not a regular file")
        content = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than the limit of {limit:,} bytes")
    return content


def write_file(path: str | Path, content: str | bytes) -> Path:
    """Write `content` to `path` all at once: whatever fails, the old file stays whole.

    Raises:
        InputError: the place cannot be written to, or `path` is of a wrong kind.
    """
    target = as_path(path, "write")
    data = content.encode("utf-8") if isinstance(content, str) else content
    # Short enough for any file system; the start of the name tells a later run what a kill left behind.
    beside = target.parent / f".{target.name[:40]}.{secrets.token_hex(8)}"
    try:
        # The system applies the process's mask itself: to read it, one would have to change it, for all threads.
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}; choose another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
        sync_folder(target.parent)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {target}: {error.strerror}; choose another place") from error
        raise
    return target


def sync_folder(folder: Path) -> None:
    """Put what was renamed in `folder` onto the disk: a file's own sync does not say where the file is."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders, and some may be written to but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that syncs no folders
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from error


LOCK = ".lock"
"""The file that is locked where a folder cannot be, on Windows; it may stay, and then means nothing."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep other processes, and other calls in this one, from entering for the same folder while the block runs.

    The system's lock ends with the process, however that ends. Where there is none (some network folders), the block
    just runs.

    Raises:
        InputError: another one is in.
    """
    handle = _lock(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
            if fcntl is None:
                with suppress(OSError):  # the next one has it open already
                    os.unlink(Path(folder) / LOCK)


def _lock(folder: Path) -> int | None:
    """What is open and holds the lock; None where there are no locks."""
    handle = None
    try:
        if fcntl is not None:
            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            handle = os.open(Path(folder) / LOCK, os.O_RDWR | os.O_CREAT)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        return handle
    except OSError as error:
        if handle is None:
            return None
        os.close(handle)
        if isinstance(error, BlockingIOError | PermissionError):  # Windows says the latter
            raise InputError(
                f"another run is writing to {folder}; wait for its end, or choose another folder"
            ) from error
        return None


@contextmanager
def staged(directory: str | Path) -> Iterator[Path]:
    """A temporary folder whose files move into `directory` when the block succeeds, and vanish if it fails.

    Raises:
        InputError: `directory` cannot be made or written to; this is found out before the block runs.
    """
    if not str(directory):
        raise InputError("the name of the folder to write to is empty; give a folder")
    target = as_path(directory, "write")
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
        sync_folder(target)
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
