"""RNN, LSTM and GRU over whole sequences: the cells unrolled in time, stacked and run both ways.

Every step of every layer is a node of the graph with its step and scope ("lstm/l0", "lstm/l1_reverse"),
so the picture of a layer is the picture of its loop. Between layers the states are handed on step by
step; only the top layer's are stacked into one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
from ..core import arguments
from ..core.arguments import Probability, Size, checked
from ..core.steps import scope, steps
from ..core.tensor import Array, Operand, Tensor, numeric, raw
from ..errors import DTypeError, ShapeError
from ..ops.ranges import in_range
from .cells import Cell, GRUCell, LSTMCell, RNNCell, check_input, check_state
from .module import Module, Seed


class Recurrent(Module):
    """What the layers share; it takes the arguments of its namesake in `torch.nn`.

    Args:
        input_size, hidden_size: I and H.
        num_layers: L, the number of layers; each reads the states of the one below.
        bias: whether the cells have biases.
        batch_first: whether sequences are (batch, time, ...) instead of (time, batch, ...).
        dropout: probability of zeroing an entry of what a layer hands to the next, in training only.
        bidirectional: read the sequence both ways, D = 2 directions instead of 1.
        dtype: of the parameters.
        rng: generator or seed, for the initial weights and for dropout.

    Attributes:
        cells: the cell of each layer and direction, by suffix: "l0", "l0_reverse", "l1", ...
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ..., and the same with `_reverse`.
    """

    cell_type: ClassVar[type[Cell]]

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        num_layers: Size = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: Probability = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = np.float64,
        rng: Seed = None,
        **cell_options: Any,
    ) -> None:
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.rng = arguments.generator(rng, type(self).__name__)
        self.states = self.cell_type.states
        self.cells: dict[str, Cell] = {}
        for layer in range(num_layers):
            size = input_size if layer == 0 else hidden_size * self.directions
            for suffix in self._suffixes(layer):
                self.cells[suffix] = cell = self.cell_type(
                    size, hidden_size, bias, dtype=dtype, rng=self.rng, **cell_options
                )
                for name, parameter in cell.own_parameters():
                    parameter.name = f"{name}_{suffix}"

    @property
    def directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self.directions]

    def own_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The cells' parameters under PyTorch's names, such as `weight_hh_l1_reverse`."""
        for suffix, cell in self.cells.items():
            for name, parameter in cell.own_parameters():
                yield f"{name}_{suffix}", parameter

    def children(self) -> Iterator[tuple[str, Module]]:
        """None: the cells' parameters are this layer's own."""
        return iter(())

    def __getattr__(self, name: str) -> Tensor:
        for own, parameter in self.own_parameters() if "cells" in vars(self) else ():
            if own == name:
                return parameter
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def forward(self, x: Operand, state: Any = None, *, lengths: ArrayLike | None = None) -> tuple[Tensor, Any]:
        """Run over a sequence.

        Args:
            x: (T, batch, I), or (batch, T, I) if `batch_first`, or (T, I) for one sequence.
            state: the state before the first step, (L * D, batch, H), or (L * D, H) for one sequence; for an
                LSTM the pair (h, c). By default zeros.
            lengths: (batch,) integers 1 to T: how long each padded sequence is. Beyond its length a
                sequence's output is zero and its state stands still, as with PyTorch's packed sequences.

        Returns:
            The top layer's h at every step, (T, batch, D * H) in the layout of x, and the last state in
            the form of `state`.

        Raises:
            ShapeError: x, the state or the lengths do not fit.
        """
        x = check_input(self, x, (2, 3))
        hs, final = self.unrolled(x, state, lengths=lengths)
        y = ops.stack(hs)
        return (y.swapaxes(0, 1) if x.ndim == 3 and self.batch_first else y), final

    def unrolled(self, x: Operand, state: Any = None, *, lengths: ArrayLike | None = None) -> tuple[list[Tensor], Any]:
        """Like calling the layer, but with the top layer's h as a list: one tensor for each step, in time order.

        What is then computed from each within `tg.steps(hs)`, such as a loss, belongs to its step.
        """
        x = check_input(self, x, (2, 3))
        if x.ndim == 3 and self.batch_first:
            x = x.swapaxes(0, 1)
        T, batch = x.shape[0], x.shape[1:-1]
        if T == 0:
            raise ShapeError(f"{type(self).__name__}: the sequence has no steps (input {x.shape})")
        mask = None if lengths is None else self._mask(lengths, T, batch)
        first = self._first_states(state, batch)

        xs: Any = x
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            ways = []
            for way, suffix in enumerate(self._suffixes(layer)):
                with scope(suffix):
                    hs, end = unroll(self.cells[suffix], xs, first[len(last)], mask, reverse=way == 1)
                ways.append(hs)
                last.append(end)
            with scope(f"l{layer}"):
                xs = self._handed_on(ways, layer)
        final = tuple(ops.stack(each) for each in zip(*last, strict=True))
        return xs, final if len(final) > 1 else final[0]

    def _handed_on(self, ways: list[list[Tensor]], layer: int) -> list[Tensor]:
        """What a layer gives to the next at each step: both directions joined, then dropout."""
        drop = self.training and self.dropout > 0 and layer < self.num_layers - 1
        if len(ways) == 1 and not drop:
            return ways[0]
        handed = []
        for _, hs in steps(list(zip(*ways, strict=True))):
            y = ops.concatenate(hs, axis=-1) if len(hs) > 1 else hs[0]
            handed.append(ops.dropout(y, self.dropout, self.rng) if drop else y)
        return handed

    def _first_states(self, state: Any, batch: tuple[int, ...]) -> list[tuple[Tensor, ...]]:
        """The initial state of every layer and direction."""
        if state is None:
            return [cell.zeros(batch) for cell in self.cells.values()]
        given = (state,) if len(self.states) == 1 else state
        given = check_state(self, given, (len(self.cells), *batch, self.hidden_size))
        return [tuple(s[k] for s in given) for k in range(len(self.cells))]

    def _mask(self, lengths: ArrayLike, T: int, batch: tuple[int, ...]) -> Array:
        """(T, batch, 1): whether a step is within its sequence."""
        n = numeric(raw(lengths), f"{type(self).__name__}: lengths")
        if n.dtype.kind not in "iu":
            raise DTypeError(f"{type(self).__name__}: lengths have dtype {n.dtype}, expected integers")
        if n.shape != batch or not batch:
            raise ShapeError(f"{type(self).__name__}: lengths have shape {n.shape}, expected {batch or '(batch,)'}")
        lengths = in_range(lengths, 1, T, f"{type(self).__name__}: lengths run from {{}} to {{}}, expected 1 to {{}}")
        return ops.less(np.arange(T)[:, None, None], ops.expand_dims(lengths, 1))  # compiled, lengths are data

    def describe(self) -> str:
        words = [str(self.input_size), str(self.hidden_size)]
        words += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        words += [f"{name}=True" for name in ("batch_first", "bidirectional") if getattr(self, name)]
        return ", ".join(words + ([f"dropout={self.dropout}"] if self.dropout else []))


@checked
def unroll(
    cell: Cell,
    xs: Tensor | Sequence[Tensor],
    state: tuple[Tensor, ...],
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """One cell over a sequence, step by step.

    Args:
        cell: what to run.
        xs: (T, ..., I), or a list of T tensors.
        state: the state before the first step.
        mask: (T, batch, 1); where false, the state stands still and the output is zero.
        reverse: from the last step to the first; a sequence then starts at its own last valid step.

    Returns:
        h at every step in time order, and the last state.
    """
    hs: list[Any] = [None] * len(xs)
    for t, x in steps(xs, reverse=reverse):
        new = cell.step(x, *state)
        if mask is None:
            hs[t] = new[0]
        else:
            new = tuple(ops.where(mask[t], now, before) for now, before in zip(new, state, strict=True))
            hs[t] = ops.where(mask[t], new[0], 0.0)
        state = new
    return hs, state


class RNN(Recurrent):
    """The plain recurrent network; `nonlinearity` is "tanh" or "relu". Equations: `RNNCell`; arguments: `Recurrent`."""

    cell_type = RNNCell

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        num_layers: Size = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: Probability = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = np.float64,
        rng: Seed = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype=dtype,
            rng=rng,
            nonlinearity=nonlinearity,
        )


class LSTM(Recurrent):
    """Long short-term memory; its state is the pair (h, c). Equations: `LSTMCell`; arguments: `Recurrent`."""

    cell_type = LSTMCell


class GRU(Recurrent):
    """Gated recurrent units. Equations: `GRUCell`; arguments: `Recurrent`."""

    cell_type = GRUCell


__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "unroll"]
