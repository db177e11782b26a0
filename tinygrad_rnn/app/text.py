"""Text as training data: reading a file with clear errors, and characters as numbers."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import as_path, read_file

LIMIT = 256 * 2**20
"""The largest text, in bytes: it is held in memory, in 8 bytes for each character."""


def read_text(path: str | Path | None, at_least: int, remedy: str = "give a longer text or fewer steps") -> str:
    """The text of a UTF-8 file, or of Python's own help topics when `path` is None.

    Args:
        path: the file to read, of at most `LIMIT` bytes; "-" for standard input.
        at_least: how many characters the caller needs.
        remedy: what to do if there are fewer.

    Raises:
        InputError: the file cannot be read, is empty, too large or too short, is not text, or is a pipe or a
            device, which may never end.
    """
    if path is None:
        if len(text := builtin_text()) < at_least:
            raise InputError(f"Python's help topics have {len(text):,} characters, not {at_least:,}; {remedy}")
        return text
    try:
        content = _standard_input() if path == "-" else read_file(as_path(path, "text"), LIMIT)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give the path of a text file") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); convert it, or give another file") from error
    if "\0" in text:
        raise InputError(f"{path} looks like a binary file (it holds NUL bytes); give a text file")
    if not text.strip():
        raise InputError(f"{path} is empty; give a file with at least {at_least} characters")
    if len(text) < at_least:
        raise InputError(f"{path} has {len(text)} characters and at least {at_least} are needed; {remedy}")
    return text


def _standard_input() -> bytes:
    content = sys.stdin.buffer.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise OSError(errno.EFBIG, f"it is larger than the limit of {LIMIT:,} bytes")
    return content


def builtin_text() -> str:
    """The help topics that come with Python: about half a million characters of English prose.

    Raises:
        InputError: this Python was installed without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError("this Python carries no help topics; give a text file instead") from error
    return "\n".join(topics[name] for name in sorted(topics))


class Vocabulary:
    """The distinct characters of a text, numbered from 0 in sorted order."""

    def __init__(self, text: str) -> None:
        self.characters = "".join(sorted(set(text)))
        self._numbers = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> NDArray[np.intp]:
        """The numbers of the characters, shape (len(text),).

        Raises:
            InputError: a character is not in the vocabulary.
        """
        try:
            return np.array([self._numbers[character] for character in text], dtype=np.intp)
        except KeyError as error:
            raise InputError(
                f"the character {error.args[0]!r} does not occur in the training text; that has {self.characters!r:.80}"
            ) from error

    def decode(self, numbers: NDArray[np.intp] | list[int]) -> str:
        """The text that `numbers` stand for."""
        return "".join(self.characters[i] for i in numbers)
