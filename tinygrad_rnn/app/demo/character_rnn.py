"""The demo's model: a character RNN in plain tensor operations, trained by truncated BPTT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...core.backprop import no_grad
from ...core.steps import steps
from ...core.tensor import Array, Tensor
from ...errors import InputError
from ...nn import Module
from ...ops import softmax, softmax_cross_entropy, tanh
from ...optim import Adam
from ...train import Trainer
from ..text import Vocabulary

STREAMS = 16
"""Places in the text that are read side by side, one row of the batch each."""


class Unrolled(NamedTuple):
    """What one window computed."""

    loss: Tensor
    """The mean over all steps and rows, in nats per character."""
    losses: list[Tensor]
    """The loss of each step."""
    states: list[Tensor]
    """h_1 to h_T, each (B, H)."""


class CharacterRNN(Module):
    """h_t = tanh(x_t W_xh + h_(t-1) W_hh + b_h) and y_t = h_t W_hy + b_y, on one-hot characters.

    Args:
        vocabulary: the number V of distinct characters.
        hidden: the length H of the state.
        rng: where the initial weights come from.
    """

    def __init__(self, vocabulary: int, hidden: int, rng: np.random.Generator) -> None:
        def weight(name: str, rows: int, columns: int) -> Tensor:
            return Tensor(rng.normal(0.0, rows**-0.5, (rows, columns)), requires_grad=True, name=name)

        self.W_xh = weight("W_xh", vocabulary, hidden)
        self.W_hh = weight("W_hh", hidden, hidden)
        self.W_hy = weight("W_hy", hidden, vocabulary)
        self.b_h = Tensor(np.zeros(hidden), requires_grad=True, name="b_h")
        self.b_y = Tensor(np.zeros(vocabulary), requires_grad=True, name="b_y")

    def named(self) -> dict[str, Tensor]:
        """The five weights by name."""
        return dict(self.named_parameters())

    def initial_state(self, rows: int) -> Tensor:
        """The state before the first step: zeros, (rows, H)."""
        return Tensor(np.zeros((rows, self.W_hh.shape[0])), name="h_0")

    def unroll(self, xs: Array, targets: Array, h: Tensor | None = None) -> Unrolled:
        """One window of text, step by step.

        Args:
            xs: one-hot characters, (T, B, V).
            targets: the number of the character that follows each, (T, B).
            h: the state before the window, (B, H), zeros by default.
        """
        h = self.initial_state(xs.shape[1]) if h is None else h
        losses, states = [], []
        for t, x in steps(xs):
            h = tanh(x @ self.W_xh + h @ self.W_hh + self.b_h)
            y = h @ self.W_hy + self.b_y
            losses.append(softmax_cross_entropy(y, targets[t]))
            states.append(h)
        return Unrolled(sum(losses[1:], losses[0]) / len(xs), losses, states)

    def sample(self, start: int, length: int, rng: np.random.Generator) -> list[int]:
        """Characters drawn one by one from softmax(y_t), each fed back as the next input."""
        vocabulary = self.W_xh.shape[0]
        drawn = [start]
        h = self.initial_state(1)
        with no_grad():
            while len(drawn) <= length:
                x = np.eye(1, vocabulary, drawn[-1])
                h = tanh(x @ self.W_xh + h @ self.W_hh + self.b_h)
                y = h @ self.W_hy + self.b_y
                drawn.append(int(rng.choice(vocabulary, p=softmax(y.data)[0])))
        return drawn


class Windows:
    """Consecutive windows of a text, over and over, with targets one character ahead.

    Raises:
        InputError: the text is shorter than one window.
    """

    def __init__(self, text: str, vocabulary: Vocabulary, length: int) -> None:
        if len(text) < length + 1:
            raise InputError(f"the text has {len(text)} characters and a window of {length} steps needs {length + 1}")
        rows = min(STREAMS, len(text) // (length + 1))
        ids = vocabulary.encode(text)
        self.streams = ids[: len(ids) // rows * rows].reshape(rows, -1).T
        self.identity = np.eye(len(vocabulary))
        self.length = length
        self.per_text = (len(self.streams) - 1) // length

    def __call__(self, update: int) -> tuple[Array, Array]:
        """One-hot inputs (length, B, V) and targets (length, B) of an update."""
        at = update % self.per_text * self.length
        return self.identity[self.streams[at : at + self.length]], self.streams[at + 1 : at + 1 + self.length]

    def goes_on(self, update: int) -> bool:
        """Whether a window follows the one before it; else the text begins anew."""
        return update % self.per_text != 0


def train(model: CharacterRNN, windows: Windows, updates: int) -> list[float]:
    """Adam on clipped gradients; the state is carried from window to window and the gradient is cut there.

    Returns:
        The loss of every update, in bits per character.
    """

    def loss(model: CharacterRNN, xs: Array, targets: Array, h: Tensor | None) -> tuple[Tensor, Tensor]:
        found = model.unroll(xs, targets, h)
        return found.loss, found.states[-1]

    trainer = Trainer(
        model,
        loss,
        windows,
        steps=updates,
        optimizer=Adam(model.parameters(), lr=5e-3),
        carry=windows.goes_on,
        eval_every=1,
    )
    trainer.run(say=lambda line: None)
    return [record["loss"] / np.log(2.0) for record in trainer.history]
