"""Randomness: the generators that a loss function may draw from, and whether it does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..debug import origin
from ..errors import GraphError
from ..nn import Module
from .surroundings import contents

Generators = Sequence[np.random.Generator]
States = Sequence[tuple[np.random.Generator, Any]]
_ALL, _EACH = 100, 16  # of the first operations each looks whether a number was drawn, later each of so many


def generators(loss_fn: Callable[..., Any], arguments: Sequence[Any]) -> Generators:
    """Those that the function is given or refers to by name, and those of modules, each once."""
    cells = map(contents, getattr(loss_fn, "__closure__", None) or ())
    code, names = getattr(loss_fn, "__code__", None), getattr(loss_fn, "__globals__", {})
    used = [names[name] for name in (code.co_names if code else ()) if name in names]
    holder = getattr(loss_fn, "__self__", loss_fn)
    own = vars(holder).values() if hasattr(holder, "__dict__") else ()
    others = (*cells, *used, *own, *(getattr(loss_fn, "__defaults__", None) or ()))
    plain = [x for x in others if isinstance(x, (np.random.Generator, Module))]  # a container of globals may be large
    return list({id(each): each for each in _within((*arguments, *plain))}.values())


def _within(x: Any) -> Iterator[np.random.Generator]:
    """Those in containers, and in modules there."""
    if isinstance(x, np.random.Generator):
        yield x
    elif isinstance(x, Module):
        yield from x.generators()
    elif isinstance(x, (dict, list, tuple)):
        for value in x.values() if isinstance(x, dict) else x:
            yield from _within(value)


@contextmanager
def rewound(states: States) -> Iterator[None]:
    """Run the body with generators in these states, and leave them as they are now."""
    after = states_of([rng for rng, _ in states])
    wind_back(states)
    try:
        yield
    finally:
        wind_back(after)


def wind_back(states: States) -> None:
    for rng, state in states:
        rng.bit_generator.state = state


def states_of(found: Generators) -> States:
    return [(rng, rng.bit_generator.state) for rng in found]


class Watch:
    """Notices that a random number was drawn which a program would keep for ever; `dropout` tells of its own."""

    def __init__(self, found: Generators) -> None:
        self.generators = found
        self._python = random.getstate()
        self._operations = 0
        self.seen = self._states()

    def _states(self) -> list[Any]:
        numpy: Any = np.random.get_state(legacy=False)
        return [rng.bit_generator.state for rng in self.generators] + [numpy["state"]["pos"]]

    def check(self) -> None:
        """Raise a GraphError if anything was drawn."""
        try:
            same = self._states() == self.seen
        except ValueError:  # a state that holds arrays
            same = str(self._states()) == str(self.seen)
        if not same:
            self._refuse()

    def operation(self) -> None:
        """One more operation: looking costs more than recording it, so that only some of many look."""
        self._operations += 1
        if self._operations < _ALL or self._operations % _EACH == 0:
            self.check()

    def told(self) -> None:
        """What was drawn until now is known."""
        self.seen = self._states()

    def end(self) -> None:
        """The loss function is over."""
        self.check()
        if random.getstate() != self._python:
            self._refuse()

    def _refuse(self) -> None:
        place = origin.user_line()
        raise GraphError(
            f"compile: random numbers were drawn (before {place}), which would be the same in every call; pass them "
            "as an argument, or use tg.dropout, which tells of what it draws"
        )
