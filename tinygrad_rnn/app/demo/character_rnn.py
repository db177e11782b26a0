"""The demo's model: a character RNN in plain tensor operations, trained by truncated BPTT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...core.backprop import no_grad
from ...core.steps import steps
from ...core.tensor import Array, Tensor
from ...errors import InputError
from ...ops import softmax, softmax_cross_entropy, tanh
from ...optim import Adam, clip_grad_norm_
from ..progress import tqdm
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


class CharacterRNN:
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

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The five weights by name."""
        return {"W_xh": self.W_xh, "W_hh": self.W_hh, "W_hy": self.W_hy, "b_h": self.b_h, "b_y": self.b_y}

    def initial_state(self, rows: int) -> Tensor:
        """The state before the first step: zeros, (rows, H)."""
        return Tensor(np.zeros((rows, self.W_hh.shape[0])), name="h_0")

    def unroll(self, xs: Array, targets: Array, h: Tensor) -> Unrolled:
        """One window of text, step by step.

        Args:
            xs: one-hot characters, (T, B, V).
            targets: the number of the character that follows each, (T, B).
            h: the state before the window, (B, H).
        """
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


def windows(text: str, vocabulary: Vocabulary, length: int) -> Iterator[tuple[Array, Array, bool]]:
    """Consecutive windows of `text`, over and over, with targets one character ahead.

    Yields:
        One-hot inputs (length, B, V), targets (length, B), and whether the text begins anew.

    Raises:
        InputError: the text is shorter than one window.
    """
    if len(text) < length + 1:
        raise InputError(f"the text has {len(text)} characters and a window of {length} steps needs {length + 1}")
    rows = min(STREAMS, len(text) // (length + 1))
    ids = vocabulary.encode(text)
    streams = ids[: len(ids) // rows * rows].reshape(rows, -1).T
    identity = np.eye(len(vocabulary))
    while True:
        for at in range(0, len(streams) - length, length):
            yield identity[streams[at : at + length]], streams[at + 1 : at + 1 + length], at == 0


def train(model: CharacterRNN, batches: Iterator[tuple[Array, Array, bool]], updates: int) -> list[float]:
    """Adam on clipped gradients; the state is carried from window to window and the gradient is cut there.

    Returns:
        The loss of every update, in bits per character.
    """
    weights = list(model.parameters.values())
    optimiser = Adam(weights, lr=5e-3)
    losses: list[float] = []
    h = model.initial_state(0)
    with tqdm(total=updates, desc="training", unit="update", mininterval=0.5) as bar:
        for _ in range(updates):
            xs, targets, anew = next(batches)
            if anew:
                h = model.initial_state(xs.shape[1])
            loss, _, states = model.unroll(xs, targets, h)
            optimiser.zero_grad()
            loss.backward()
            clip_grad_norm_(weights, 1.0)
            optimiser.step()
            h = states[-1].detach()
            losses.append(float(loss) / np.log(2.0))
            bar.set_postfix_str(f"{np.mean(losses[-20:]):.2f} bits per character", refresh=False)
            bar.update()
    return losses
