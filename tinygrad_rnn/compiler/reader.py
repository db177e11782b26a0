"""Reader: a function written for the arguments of one call, which takes the arrays out of those of the next ones.

To walk through containers of any kind and to describe them takes as long as a short program runs; to test of each that
it is what it was takes a third of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..core.tensor import Array, Tensor


class Reader:
    """Reads arguments of the kinds that these are: the same containers and keys, and arrays of the same dtypes.

    Args:
        arguments: those of one call.
        names: of the last ones, which go by name.
        count: how many arrays are in the first argument, if there are gradients.
        around: how to get what the function reads from around it, and what that must be; None if it may change itself.

    Attributes:
        read: `read(arguments, names)` gives the arrays, or None where anything is of another kind.
        filled: `filled(arrays)` is a container like the first argument, with these arrays in it.
        fits: whether it can read them: there are only arrays and tensors, in plain dicts, lists and tuples.
    """

    read: Callable[[Sequence[Any], tuple[str, ...]], list[Array] | None]
    filled: Callable[[Iterable[Array]], Any]

    def __init__(
        self,
        arguments: Sequence[Any],
        names: tuple[str, ...],
        count: int | None,
        around: Sequence[tuple[Callable[[], Any], Any]] | None,
    ) -> None:
        self.count, self.fits = count, around is not None
        self._known: dict[str, Any] = {"ndarray": np.ndarray, "Tensor": Tensor}
        self._lines: list[str] = []
        self._arrays: list[str] = []
        self._made: list[str] = []  # containers of the first argument, those within others first
        self._unless(f"len(given) == {len(arguments)} and names == {names}")
        for variable, value in around or ():
            self._unless(f"{self._name(variable)}() is {self._name(value)}")
        values = self._parts("given", arguments)
        if self.fits:
            lines = ["def read(given, names):", *self._lines, f"    return [{', '.join(self._arrays)}]"]
            lines += [f"def filled(arrays):\n    [{', '.join(self._arrays[:count])}] = arrays", *self._made]
            lines += [f"    return {values[0] if values else None}"]
            exec("\n".join(lines), self._known)
            self.read, self.filled = self._known["read"], self._known["filled"]

    def _name(self, value: Any = None) -> str:
        """A name that no other has, of that value."""
        name = f"x{len(self._known)}"
        self._known[name] = value
        return name

    def _unless(self, test: str) -> None:
        self._lines.append(f"    if not ({test}): return None")

    def _parts(self, of: str, values: Sequence[Any]) -> list[str]:
        """Take apart what holds such values, and test each; gives their names."""
        names = [self._name() for _ in values]
        self._lines.append(f"    [{', '.join(names)}] = {of}")
        for x, name in zip(values, names, strict=True):
            self._walk(x, name)
        return names

    def _put(self, name: str, text: str) -> None:
        if len(self._arrays) <= (self.count or 0):
            self._made.append(f"    {name} = {text}")

    def _walk(self, x: Any, name: str) -> None:
        """Test that what has a name is like x, and take it apart."""
        kind = type(x)
        if kind is np.ndarray or kind is Tensor:
            array = x._array if kind is Tensor else x
            self._unless(f"type({name}) is {kind.__name__}")
            if kind is Tensor:
                self._lines.append(f"    {name} = {name}._array")
            self._unless(f"{name}.dtype is {self._name(array.dtype)} and {name}.ndim == {array.ndim}")
            self._arrays.append(name)
        elif kind is dict:
            self._unless(f"type({name}) is dict and [*{name}] == {self._name([*x])}")
            values = self._parts(f"{name}.values()", list(x.values()))
            self._put(name, f"{{{', '.join(f'{self._name(key)}: {v}' for key, v in zip(x, values, strict=True))}}}")
        elif kind is list or kind is tuple:
            self._unless(f"type({name}) is {kind.__name__} and len({name}) == {len(x)}")
            self._put(name, f"{kind.__name__}([{', '.join(self._parts(name, x))}])")
        else:
            self.fits = False
