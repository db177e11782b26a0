"""Text as training data: reading a file with clear errors, and characters as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


def read_text(path: str | Path | None, at_least: int, remedy: str = "give a longer text or fewer steps") -> str:
    """The text of a UTF-8 file, or of Python's own help topics when `path` is None.

    Args:
        path: the file to read.
        at_least: how many characters the caller needs.
        remedy: what to do if there are fewer.

    Raises:
        InputError: the file cannot be read, is empty, is not text, or is too short.
    """
    if path is None:
        return builtin_text()
    if not str(path):
        raise InputError("the name of the text file is empty; give the path of a text file")
    try:
        content = Path(path).read_bytes()
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
            raise InputError(f"the character {error.args[0]!r} does not occur in the training text") from error

    def decode(self, numbers: NDArray[np.intp] | list[int]) -> str:
        """The text that `numbers` stand for."""
        return "".join(self.characters[i] for i in numbers)
