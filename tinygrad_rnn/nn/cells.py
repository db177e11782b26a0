"""Recurrent cells: one time step, written as its equations.

Each has the parameters, shapes and gate order of the cell of the same name in `torch.nn`; the gates
of a cell are stacked, so that one product serves all of them. `step` holds the equations; calling the
cell checks the input and starts from zeros where no state is given.

    cell = tg.nn.LSTMCell(input_size, hidden_size)
    state = None
    for t, x in tg.steps(xs):            # xs: (T, batch, input_size)
        h, c = state = cell(x, state)
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from .. import ops
from ..core import arguments
from ..core.arguments import Size, checked
from ..core.tensor import Operand, Tensor, numeric, raw
from ..errors import ShapeError
from . import init
from .functional import linear
from .module import Module, Seed, parameter


class Cell(Module):
    """What the cells share: stacked weights, and a state of one tensor or several.

    Args:
        input_size, hidden_size: I and H, the sizes of x and of each state.
        bias: whether to have `bias_ih` and `bias_hh`.
        dtype: of the parameters.
        rng: generator or seed for the initial weights.

    Attributes:
        weight_ih, weight_hh: (gates * H, I) and (gates * H, H).
        bias_ih, bias_hh: (gates * H,) each, or None. All start evenly in +-1 / sqrt(H), as in PyTorch.
    """

    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float64,
        rng: Seed = None,
    ) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        rng, bound = arguments.generator(rng, type(self).__name__), 1 / math.sqrt(hidden_size)
        rows = self.gates * hidden_size
        self.weight_ih = parameter(init.uniform((rows, input_size), bound, rng), dtype)
        self.weight_hh = parameter(init.uniform((rows, hidden_size), bound, rng), dtype)
        self.bias_ih = parameter(init.uniform((rows,), bound, rng), dtype) if bias else None
        self.bias_hh = parameter(init.uniform((rows,), bound, rng), dtype) if bias else None

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The next state from x, (batch, I) or (I,), and the last state, each (batch, H) or (H,)."""
        raise NotImplementedError

    def forward(self, x: Operand, state: Any = None) -> Any:
        """One step: the new h, or (h, c) for an LSTM, from x and the state before (None: zeros).

        Raises:
            ShapeError: x does not have `input_size` numbers, or the state does not fit.
        """
        x = check_input(self, x, (1, 2))
        if state is None:
            new = self.step(x, *self.zeros(x.shape[:-1]))
        else:
            old = (state,) if len(self.states) == 1 else state
            new = self.step(x, *check_state(self, old, (*x.shape[:-1], self.hidden_size)))
        return new if len(self.states) > 1 else new[0]

    def zeros(self, batch: tuple[int, ...]) -> tuple[Tensor, ...]:
        """The state before the first step: zeros of shape (*batch, H), in the parameters' dtype."""
        return tuple(
            Tensor(np.zeros((*batch, self.hidden_size), self.weight_hh.dtype), name=f"{name}_0") for name in self.states
        )

    def describe(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class RNNCell(Cell):
    """The plain recurrent cell (Elman, 1990): h' = tanh(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        nonlinearity: "tanh" or "relu"; the rest as in `Cell`.
    """

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *,
        dtype: DTypeLike = np.float64,
        rng: Seed = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        self.nonlinearity = nonlinearity

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        (h,) = state
        z = linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh)
        h = ops.tanh(z) if self.nonlinearity == "tanh" else ops.relu(z)
        return (h,)


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate by Gers et al., 2000).

    The gates i, f, o = sigmoid(...) and the candidate g = tanh(...) are the four parts, each (batch, H), of
    z = W_ih x + b_ih + W_hh h + b_hh; then c' = f c + i g and h' = o tanh(c'). The state is (h, c). Arguments: `Cell`.
    """

    gates = 4
    states = ("h", "c")

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        h, c = state
        z = linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh)
        H = self.hidden_size
        i = ops.sigmoid(z[..., :H])
        f = ops.sigmoid(z[..., H : 2 * H])
        g = ops.tanh(z[..., 2 * H : 3 * H])
        o = ops.sigmoid(z[..., 3 * H :])
        c = f * c + i * g
        h = o * ops.tanh(c)
        return h, c


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al., 2014), with PyTorch's place for the reset gate.

    With the three parts of a = W_ih x + b_ih and of u = W_hh h + b_hh, each (batch, H):
    r = sigmoid(a_r + u_r), z = sigmoid(a_z + u_z), n = tanh(a_n + r u_n), and h' = (1 - z) n + z h. Arguments: `Cell`.
    """

    gates = 3

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        (h,) = state
        from_x = linear(x, self.weight_ih, self.bias_ih)
        from_h = linear(h, self.weight_hh, self.bias_hh)
        H = self.hidden_size
        r = ops.sigmoid(from_x[..., :H] + from_h[..., :H])
        z = ops.sigmoid(from_x[..., H : 2 * H] + from_h[..., H : 2 * H])
        n = ops.tanh(from_x[..., 2 * H :] + r * from_h[..., 2 * H :])
        h = (1 - z) * n + z * h
        return (h,)


def check_input(module: Any, x: Operand, ndims: tuple[int, ...]) -> Tensor:
    """x as a tensor, after checking its axes and that its last one has `input_size` numbers."""
    shape = numeric(raw(x), type(module).__name__).shape
    if len(shape) not in ndims or shape[-1] != module.input_size:
        axes = {1: "({})", 2: "(batch, {})" if 1 in ndims else "(time, {})", 3: "(time, batch, {})"}
        expected = " or ".join(axes[n].format(module.input_size) for n in ndims)
        if getattr(module, "batch_first", False):
            expected = expected.replace("time, batch", "batch, time")
        raise ShapeError(f"{type(module).__name__}: the input has shape {shape}, expected {expected}")
    return x if isinstance(x, Tensor) else Tensor(x)


def check_state(module: Any, state: Any, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The given states as tensors of `shape`."""
    names = module.states
    if not isinstance(state, (tuple, list)) or len(state) != len(names):
        raise ShapeError(f"{type(module).__name__}: the state must be ({', '.join(names)}), a tensor for each")
    for name, tensor in zip(names, state, strict=True):
        given = numeric(raw(tensor), f"{type(module).__name__}: the state {name}").shape
        if given != shape:
            raise ShapeError(f"{type(module).__name__}: the state {name} has shape {given}, expected {shape}")
    return tuple(s if isinstance(s, Tensor) else Tensor(s, name=f"{n}_0") for n, s in zip(names, state, strict=True))


__all__ = ["Cell", "GRUCell", "LSTMCell", "RNNCell", "check_input", "check_state"]
