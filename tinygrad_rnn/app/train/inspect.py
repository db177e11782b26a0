"""A character model under the lens: one window of text, step by step, for flow and viz to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.steps import steps
from ...core.tensor import Tensor
from ...errors import InputError
from ...flow.structure import structure
from ...ops import softmax_cross_entropy
from ..text import Vocabulary, read_text
from .model import SequenceModel
from .trained import load_model


@dataclass(frozen=True)
class Window:
    """What a model computed on one window of text."""

    loss: Tensor
    """The sum of the losses."""
    losses: list[Tensor]
    """-log p(next character), a scalar for each step."""
    layers: dict[str, list[tuple[Tensor, ...]]]
    """For each layer by its scope, its state at every step: (h_t,), or (h_t, c_t) for an LSTM."""
    tokens: list[str]
    """The characters read."""


def look(model: SequenceModel, vocabulary: Vocabulary, text: str) -> Window:
    """Run a character model over all of `text` but its last character, with a loss at every step.

    Raises:
        InputError: a character that the model does not know, or fewer than two.
    """
    if len(text) < 2:
        raise InputError(f"got {len(text)} characters, expected at least 2: one to read and one to predict")
    ids = vocabulary.encode(text)
    hs, _ = model.rnn.unrolled(model.embed(ids[:-1, None]))
    losses = []
    for t, h in steps(hs):
        y = model.head(h)
        losses.append(softmax_cross_entropy(y, ids[t + 1 : t + 2]))
    loss = sum(losses[1:], losses[0])
    layers = {layer[0][0].scope: layer for layer in structure(loss).layers}
    return Window(loss, losses, layers, tokens=list(text[:-1]))


def look_at(
    text: str | Path | None = None,
    run: str | Path | None = None,
    cell: str = "rnn",
    hidden: int = 64,
    layers: int = 1,
    length: int = 20,
    seed: int = 0,
) -> Window:
    """The first `length` steps of a text through a trained character model, or through a fresh one.

    Args:
        text: a UTF-8 file; by default what the run was trained on, or the help topics that come with Python.
        run: a folder or checkpoint of `train`; then `cell`, `hidden`, `layers` and `seed` are its own.
        cell, hidden, layers, seed: of the fresh model.
        length: how many steps.

    Raises:
        InputError: the text or the run is unusable, or the run is not a character model.
    """
    if run is None:
        written = read_text(text, at_least=length + 1)
        vocabulary = Vocabulary(written)
        V = len(vocabulary)
        model = SequenceModel(cell, V, V, hidden, layers, embedding=min(V, hidden), rng=np.random.default_rng(seed))
    else:
        trained = load_model(run)
        if trained.vocabulary is None:
            raise InputError(f"{run} was trained on {trained.settings.task}; give a run of a character model")
        model, vocabulary = trained.model, trained.vocabulary
        written = trained.text(length + 1) if text is None else read_text(text, at_least=length + 1)
    model.eval()
    return look(model, vocabulary, written[: length + 1])


__all__ = ["Window", "look", "look_at"]
