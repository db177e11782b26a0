"""A model under the lens: one window of text, or one batch of a task, step by step, for flow and viz to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.steps import steps
from ...core.tensor import Array, Tensor
from ...errors import InputError
from ...flow.structure import structure
from ...ops import softmax_cross_entropy
from ..text import Vocabulary, read_text
from .model import SequenceModel
from .settings import Settings
from .task import Task
from .trained import load_model

SEQUENCES = 16
"""So many sequences of a batch are looked at, and so many windows of a text compared."""


@dataclass(frozen=True)
class Window:
    """What a model computed on one window of text, or on some sequences of a task."""

    loss: Tensor
    """The sum of the losses."""
    losses: list[Tensor]
    """A scalar for each step that has an answer: of a text, -log p(next character)."""
    layers: dict[str, list[tuple[Tensor, ...]]]
    """For each layer by its scope, its state at every step: (h_t,), or (h_t, c_t) for an LSTM."""
    tokens: list[str] | None
    """The characters read."""
    xs: Array
    """Several sequences, (T, B, ...), and"""
    predict: Callable[[Array], Any]
    """what the model answers to such: for `influence`."""


def look(model: SequenceModel, vocabulary: Vocabulary, text: str) -> Window:
    """Run a character model over all of `text` but its last character, with a loss at every step.

    Raises:
        InputError: a character that the model does not know, or fewer than two.
    """
    if len(text) < 2:
        raise InputError(f"got {len(text)} characters, expected at least 2: one to read and one to predict")
    ids = vocabulary.encode(text)
    return _look(model, ids[:-1, None], lambda y, t: softmax_cross_entropy(y, ids[t + 1 : t + 2]), list(text[:-1]))


def look_at_task(model: SequenceModel, task: Task) -> Window:
    """Run a model over the first sequences of a task's first batch, with the task's own loss at each of its answers."""
    x, target = task.batch(0)
    x, target = x[:, :SEQUENCES], target[:SEQUENCES] if task.last else target[:, :SEQUENCES]
    return _look(model, x, lambda y, t: task.error(y, target if task.last else target[t]), last=task.last)


def _look(
    model: SequenceModel, x: Array, error: Callable[[Tensor, int], Tensor], tokens: Any = None, last: bool = False
) -> Window:
    """Run a model over x, (T, B, ...); `error(y, t)` is the loss of what it answers at step t, or only at the last."""
    hs, _ = model.rnn.unrolled(model.embed(x) if hasattr(model, "embed") else x)
    losses = []
    for t, h in steps(hs) if not last else [(len(hs) - 1, hs[-1])]:
        y = model.head(h)
        losses.append(error(y, t))
    loss = sum(losses[1:], losses[0])
    layers = {layer[0][0].scope: layer for layer in structure(loss).layers}
    return Window(loss, losses, layers, tokens, x, lambda xs: model(xs, last=last)[0])


def look_at(
    text: str | Path | None = None,
    run: str | Path | None = None,
    task: str = "char",
    cell: str = "rnn",
    hidden: int = 64,
    layers: int = 1,
    length: int | None = None,
    seed: int = 0,
) -> Window:
    """The first steps of a text, or sequences of a task, through a trained model or through a fresh one.

    Args:
        text: a UTF-8 file; by default what the run was trained on, or the help topics that come with Python.
        run: a folder or checkpoint of `train`; then `task`, `cell`, `hidden`, `layers` and `seed` are its own.
        task, cell, hidden, layers, seed: of the fresh model.
        length: how many steps of a text, 20 by default; of a fresh synthetic problem its lag.

    Raises:
        InputError: the text or the run is unusable, or a text or length is given for a task that has its own.
    """
    trained = None if run is None else load_model(run)
    given: dict[str, Any] = {"cell": cell, "hidden": hidden, "layers": layers, "seed": seed}
    given |= {} if length is None or task == "char" else {"lag": length}
    settings = Settings.of(task, **given) if trained is None else trained.settings
    if settings.task != "char":
        if text is not None or (length is not None and trained is not None):
            raise InputError(
                f"{settings.task} has sequences of its own; give no text, and no number of steps for a run"
            )
        own = settings.build_task() if trained is None else trained.task()
        model = settings.build_model(own.inputs, own.outputs, own.classes_in) if trained is None else trained.model
        model.eval()
        return look_at_task(model, own)
    length = 20 if length is None else length
    if trained is None:
        written = read_text(text, at_least=length + 1)
        vocabulary = Vocabulary(written)
        V = len(vocabulary)
        model = SequenceModel(
            settings.cell, V, V, hidden, layers, embedding=min(V, hidden), rng=np.random.default_rng(seed)
        )
    else:
        assert trained.vocabulary is not None
        model, vocabulary = trained.model, trained.vocabulary
        written = trained.text(length + 1) if text is None else read_text(text, at_least=length + 1)
    model.eval()
    found = look(model, vocabulary, written[: length + 1])
    ids = vocabulary.encode(written[: min(len(written), SEQUENCES * length)])
    return replace(found, xs=ids[: len(ids) // length * length].reshape(-1, length).T)


__all__ = ["Window", "look", "look_at"]
