"""The model that every task here trains: numbers or classes in, a recurrent network, a linear layer out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from ...core.arguments import Finite, Probability, Size, SizeOrZero, checked, generator
from ...core.tensor import Operand, Tensor
from ...nn import GRU, LSTM, RNN, Dropout, Embedding, Linear, Module, Recurrent
from ...nn.module import Seed
from ...nn.truncation import truncate
from ...ops import concatenate

CellName = Literal["rnn", "lstm", "gru"]
CELLS: dict[str, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


class SequenceModel(Module):
    """y = head(rnn(embed(x))), at every step or at the last.

    Args:
        cell: "rnn", "lstm" or "gru".
        inputs: how many numbers a step of x has; with an embedding, how many classes there are.
        outputs: how many numbers a step of y has.
        hidden, layers: size and number of the recurrent layers.
        embedding: the size of a class's vector, or 0 where x holds numbers, (T, batch, inputs).
        dropout: probability between layers and before the head.
        keep: what the bias of the gate that keeps the state (f of an LSTM, z of a GRU) starts with; 0 leaves
            it as it is. A gate that starts open remembers from the first update on (Gers et al., 2000).
        dtype: of the parameters.
        rng: generator or seed, for the weights and for dropout.
    """

    @checked
    def __init__(
        self,
        cell: CellName,
        inputs: Size,
        outputs: Size,
        hidden: Size,
        layers: Size = 1,
        embedding: SizeOrZero = 0,
        dropout: Probability = 0.0,
        keep: Finite = 0.0,
        *,
        dtype: DTypeLike = np.float64,
        rng: Seed = None,
    ) -> None:
        rng = generator(rng, "SequenceModel")
        if embedding:
            self.embed = Embedding(inputs, embedding, dtype=dtype, rng=rng)
        self.rnn = CELLS[cell](embedding or inputs, hidden, layers, dropout=dropout, dtype=dtype, rng=rng)
        for name, parameter in self.rnn.named_parameters():
            if keep and cell != "rnn" and name.startswith("bias_hh"):
                parameter.data[hidden : 2 * hidden] = keep
        self.head = Linear(hidden, outputs, dtype=dtype, rng=rng)
        self.drop = Dropout(dropout, rng=rng)

    def zeros(self, batch: int) -> Any:
        """The state before the first step, as arrays in the form that `forward` takes and returns."""
        shape = (self.rnn.num_layers, batch, self.rnn.hidden_size)
        zeros = tuple(np.zeros(shape, self.head.weight.dtype) for _ in self.rnn.states)
        return zeros if len(zeros) > 1 else zeros[0]

    def forward(self, x: Operand, state: Any = None, last: bool = False) -> tuple[Tensor, Any]:
        """(T, batch, inputs), or classes (T, batch), to (T, batch, outputs), or (batch, outputs) if `last`."""
        if hasattr(self, "embed"):
            x = self.embed(x)
        hs, state = self.rnn(x, state)
        return self.head(self.drop(hs[-1] if last else hs)), state


@checked
def run_in_windows(model: SequenceModel, x: Any, window: Size | None, last: bool = False) -> Tensor:
    """The model over a whole sequence, the gradient cut every `window` steps counted from the end.

    Args:
        model: what to run.
        x: (T, batch, ...).
        window: k2 of truncated BPTT: how many steps back gradients travel; None for all of them.
        last: whether only the last step's output is wanted.
    """
    T = len(x)
    if window is None or window >= T:
        return model(x, last=last)[0]
    cuts = [0, *range(T % window or window, T, window), T]
    ys, state = [], None
    for start, end in pairwise(cuts):
        y, state = model(x[start:end], truncate(state), last=last)
        ys.append(y)
    return ys[-1] if last else concatenate(ys)


__all__ = ["CELLS", "SequenceModel", "run_in_windows"]
