"""Trading time for memory: keep a function's inputs, and run it again when its gradient is wanted.

The gradient is the exact one of the whole sequence. For T steps in sqrt(T) segments the graph holds
sqrt(T) states and, while it goes back through one segment, sqrt(T) steps of graph (Chen et al., 2016).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from ..core.arguments import checked
from ..core.backprop import backprop
from ..core.context import Draw, context, current, next_index, step_of
from ..core.primitive import primitive, transparent
from ..core.steps import steps
from ..core.tensor import Array, Tensor, numeric
from ..debug import messages
from ..errors import GraphError, InputError


@checked
def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`checkpoint(fn)(*args)` is `fn(*args)`, without keeping what `fn` computes on its way.

    The backward pass runs `fn` once more. Gradients reach the arguments and whatever other tensors
    `fn` uses, such as weights it closes over. `dropout` draws the same masks again, and so does whatever draws from
    generators among the arguments.

    Args:
        fn: gives a tensor, or a tuple or list of tensors of one dtype; it must compute the same each time.

    Raises:
        InputError: `fn` is no function, or gives something else than tensors.
        GraphError: in backward, `fn` gave other values than the first time.
    """

    if not callable(fn):
        raise InputError(f"checkpoint: got {type(fn).__name__}, expected a function, as in checkpoint(fn)(*args)")

    @wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        now = current.get()
        if not now.recording or now.tracing:
            return fn(*args, **kwargs)
        segment = _Segment(fn, args, kwargs)
        outputs, several = segment.forward()
        if not segment.reached:
            return outputs if several else outputs[0]
        shapes = [y.shape for y in outputs]
        packed = outputs[0]._array if len(outputs) == 1 else np.concatenate([y._array.ravel() for y in outputs])
        del outputs  # and with them the graph inside
        node = _checkpoint(segment.reached, segment=segment, value=packed)
        if not several:
            return node
        if len(shapes) == 1:
            return (node,)
        ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
        return tuple(
            np.reshape(node[end - math.prod(shape) : end], shape) for shape, end in zip(shapes, ends, strict=True)
        )

    return run


class _Segment:
    """A call that can be repeated: the function, its arguments, and the tensors from outside that it reached."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.fn, self.kwargs = fn, kwargs
        self.args = tuple(copy.deepcopy(a) if isinstance(a, np.random.Generator) else a for a in args)
        self.first_args = args
        now = current.get()
        self.step, self.scope, self.outer_draw = step_of(now), now.scope, now.draw
        self.reached: list[Tensor] = []
        self.drew: dict[int, tuple[np.random.Generator, Any]] = {}  # the state of each before it first drew

    def forward(self) -> tuple[list[Tensor], bool]:
        started = next_index()
        with context(draw=self._draw):
            outputs, several = _as_tensors(self.fn(*self.first_args, **self.kwargs))
        self.first_args = ()
        self.reached = _reached([y for y in outputs if y.requires_grad], started)
        return outputs, several

    def again(self) -> tuple[list[Tensor], int]:
        """The outputs once more, with their graph, and the creation number that separates it from the outside."""
        args = [copy.deepcopy(a) if isinstance(a, np.random.Generator) else a for a in self.args]
        now = [rng.bit_generator.state for rng, _ in self.drew.values()]
        try:
            for rng, state in self.drew.values():
                rng.bit_generator.state = state
            with context(recording=True, step=self.step, scope=self.scope, loop=None, draw=None):
                started = next_index()
                return _as_tensors(self.fn(*args, **self.kwargs))[0], started
        finally:
            for (rng, _), state in zip(self.drew.values(), now, strict=True):
                rng.bit_generator.state = state

    def _draw(self, rng: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Array:
        """Draw random numbers that can be drawn again."""
        self.drew.setdefault(id(rng), (rng, rng.bit_generator.state))
        return draw(rng, shape) if self.outer_draw is None else self.outer_draw(rng, draw, shape)


def _as_tensors(outputs: Any) -> tuple[list[Tensor], bool]:
    several = isinstance(outputs, (tuple, list))
    listed = list(outputs) if several else [outputs]
    for y in listed:
        if not isinstance(y, Tensor):
            raise InputError(f"checkpoint: the function gave {type(y).__name__}, expected a Tensor or a tuple of them")
    if len({y.dtype for y in listed}) > 1:
        raise InputError("checkpoint: the function gave tensors of several dtypes; give them one with astype")
    return listed, several


def _reached(outputs: Sequence[Tensor], started: int) -> list[Tensor]:
    """The tensors older than `started` that require a gradient and that `outputs` were computed from."""
    found: dict[int, Tensor] = {}
    seen: set[int] = set()
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        if tensor.index in seen or not tensor.requires_grad:
            continue
        seen.add(tensor.index)
        if tensor.index < started:
            found[tensor.index] = tensor
        else:
            stack.extend(x for x in tensor.inputs if type(x) is Tensor)
    return [found[index] for index in sorted(found)]


def _by_running_again(g: Any, y: Any, operands: Sequence[Any], segment: _Segment, value: Array) -> list[Any]:
    create_graph = isinstance(g, Tensor)
    outputs, started = segment.again()
    repeated = outputs[0]._array if len(outputs) == 1 else np.concatenate([o._array.ravel() for o in outputs])
    if repeated.shape != value.shape or not np.array_equal(repeated, value, equal_nan=True):
        raise GraphError(
            "checkpoint: the function gave other values when run again, so its gradient would be wrong; "
            "pass random generators as arguments, and change no weight before backward"
        )
    seeds, end = [], 0
    for output in outputs:
        seeds.append(g if len(outputs) == 1 else np.reshape(g[end : end + output.size], output.shape))
        end += output.size
    pairs = [(o, seed) for o, seed in zip(outputs, seeds, strict=True) if o.requires_grad]
    wanted = {tensor.index for tensor in segment.reached}
    found = dict.fromkeys(wanted)
    for tensor, gradient in backprop([o for o, _ in pairs], [s for _, s in pairs], create_graph, wanted, since=started):
        found[tensor.index] = gradient
    return [found[tensor.index] for tensor in segment.reached]


@primitive(vjps=_by_running_again, name="checkpoint")
def _checkpoint(operands: Sequence[Array], segment: _Segment, value: Array) -> Array:
    """What a function gave: its flattened outputs, joined."""
    return value


_STEPS = "_steps_of_a_segment"


def holds_steps(node: Tensor) -> bool:
    """Whether a tensor is what several steps of `checkpoint_steps` gave, which are not in the graph."""
    return node.primitive is _checkpoint and getattr(node.attrs["segment"].fn, _STEPS, 1) > 1


@checked
def checkpoint_steps(
    cell: Callable[[Any, Any], Any], h0: Any, xs: Any, every: int | str = "sqrt", start: int = 0
) -> Any:
    """Run `cell` over a sequence with memory for its segments' ends only; the exact gradient of all T steps.

    It computes `for t, x in tg.steps(xs): h = cell(x, h)` and returns the last `h`. A loss at every step
    is part of the state: let the cell take and give a tuple, such as (h, loss). The graph holds a node for each segment
    and not its steps: to draw or diagnose them, run the loop itself on a shorter sequence.

    Args:
        cell: (x, h) -> h, where h is a tensor or a tuple of tensors of one dtype.
        h0: the first h.
        xs: as in `steps`: an array or tensor with time first, or a list with one entry per step.
        every: the length of a segment; "sqrt" for the square root of the number of steps.
        start: the number of the first step.

    Raises:
        InputError: `every` is neither "sqrt" nor a positive integer.
        ShapeError: `xs` has no time axis.
    """
    if every != "sqrt" and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        raise InputError(f"checkpoint_steps: got every={every!r}, expected 'sqrt' or a number of steps, 1 or more")
    if not isinstance(xs, (Tensor, list, tuple)):
        xs = numeric(xs, "checkpoint_steps")
    if not isinstance(xs, (list, tuple)) and xs.ndim == 0:
        raise messages.no_time_axis("checkpoint_steps")
    length = len(xs)
    size = max(1, math.isqrt(length)) if every == "sqrt" else int(every)

    def segment(part: Any, first: int, *h: Any) -> Any:
        state: Any = h if several else h[0]
        for _, x in steps(part, start=first):
            state = cell(x, state)
        return state

    setattr(segment, _STEPS, size)
    several = isinstance(h0, (tuple, list))
    state = tuple(h0) if several else (h0,)
    for first in range(0, length, size):
        result = checkpoint(segment)(xs[first : first + size], start + first, *state)
        state = tuple(result) if several else (result,)
    return state if several else state[0]


transparent(globals())

__all__ = ["checkpoint", "checkpoint_steps"]
