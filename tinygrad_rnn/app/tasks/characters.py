"""The character model: predict the next character of any text (Karpathy's char-rnn), and write more of it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...core.arguments import NotNegative, Seeding, Size, SizeOrZero, checked, generator
from ...core.backprop import no_grad
from ...core.tensor import Array, Tensor
from ...errors import InputError
from ...ops import concatenate, softmax_cross_entropy
from ...train.batches import evaluating
from ...train.progress import tqdm
from ..text import Vocabulary, read_text
from .model import SequenceModel
from .task import Batch, Task

STREAMS = 64
"""How many places of a text are read in parallel to score it."""

LATE: dict[str, Any] = {"delay": 2, "disable": None, "leave": False}
"""A progress bar that shows itself on a terminal, if the work takes more than two seconds."""

WARM_UP = 100
"""How many characters a model reads before it is scored."""


class Characters(Task):
    """Next-character prediction; the last tenth of the text is held out.

    The text is cut into `batch` streams that are read in parallel from start to end, `k1` characters
    per update; the state is carried from one update to the next, and gradients travel back `k2` >= `k1`
    characters (truncated BPTT). Every pass over the text starts at another offset.

    Args:
        text: the path of a UTF-8 file, or None for the help topics that come with Python.
        batch: how many streams.
        k1, k2: as above.
    """

    metric = "bits per character"
    classes_in, last = True, False

    @checked
    def __init__(
        self, text: str | Path | None, batch: Size, k1: Size, k2: Size, seed: Seeding, dtype: DTypeLike
    ) -> None:
        super().__init__(batch, seed, dtype, k2)
        if k2 < k1:
            raise InputError(f"k2: got {k2}, expected at least k1 = {k1}, or some losses would never be learnt from")
        written = read_text(text, at_least=20 * (k2 + 1), remedy="give a longer text or shorter windows (k1, k2)")
        self.k1, self.window = k1, k2
        self.vocabulary = Vocabulary(written)
        self.inputs = self.outputs = len(self.vocabulary)
        self.digest = digest(written)
        ids = self.vocabulary.encode(written)
        held = max(len(ids) // 10, k2 + 2)
        self.train_ids, self.held_ids = ids[:-held], ids[-held:]
        self.length = (len(self.train_ids) - k1) // batch
        self.updates = (self.length - 1 - k2) // k1 + 1
        if self.length < k2 + 2:
            raise InputError(
                f"batch: {batch} streams of {len(self.train_ids):,} characters are too short for windows of k2 = {k2}; "
                "use fewer streams, shorter windows or a longer text"
            )

    def batch(self, step: int) -> Batch:
        """The characters of an update and those that follow them, each (k2, batch)."""
        epoch, i = divmod(step, self.updates)
        offset = int(self.rng(epoch).integers(self.k1))
        streams = self.train_ids[offset : offset + self.batch_size * self.length].reshape(self.batch_size, self.length)
        ids = streams.T[i * self.k1 : i * self.k1 + self.window + 1]
        return ids[:-1], ids[1:]

    def carries(self, step: int) -> bool:
        return step % self.updates != 0

    def objective(self, model: SequenceModel, x: Any, target: Any, state: Any = None) -> tuple[Tensor, Any]:
        """Losses of the window's last k1 characters; the state k1 characters in is carried on."""
        y, carried = model(x[: self.k1], state)
        late = self.window - self.k1  # y covers x[:k1]; the rest, x[k1:], has so many
        if late:
            rest, _ = model(x[self.k1 :], carried)
            y = rest[-self.k1 :] if late >= self.k1 else concatenate([y[late:], rest])
        return self.error(y, target[-self.k1 :]), carried

    def score(self, model: SequenceModel) -> float:
        return bits_per_character(model, self.held_ids, self.train_ids[-WARM_UP:])

    def details(self, score: float) -> str:
        return in_words(score)

    def record(self) -> dict[str, Any]:
        return {"characters": self.vocabulary.characters, "text": self.digest}


def digest(text: str) -> str:
    """By which a checkpoint knows its text again: the SHA-256 of its UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def in_words(bits: float) -> str:
    """A score with its perplexity, 2 to the power of it; a model that diverged may have one above every float."""
    perplexity = "above 1e308" if bits >= 1024 else f"{2**bits:.3f}"
    return f"{bits:.4f} bits per character (perplexity {perplexity})"


@checked
def bits_per_character(model: SequenceModel, ids: Array, before: Array | None = None) -> float:
    """The mean of -log2 p(character | all before it in its stream), over every one of `ids`.

    The text is cut into streams that are read in parallel; each first reads the characters just before
    it without being scored, so that it does not start from nothing.

    Args:
        model: a character model.
        ids: (n,), the characters to predict.
        before: what precedes them; without it the first character is only read.
    """
    lead = 0 if before is None else len(before)
    text = ids if before is None else np.concatenate([before, ids])
    first = max(lead, 1)
    n = len(text) - first
    if n < 1:
        raise InputError(f"the text has {len(ids)} characters, too few to predict any")
    streams = max(1, min(STREAMS, n // 100))
    length = -(-n // streams)
    total = 0.0
    with evaluating(model), no_grad():
        # Stream s reads on from text[1 + s * length] and is scored on its last `length` characters.
        t = np.arange(1, first + length)[:, None]
        at = t + length * np.arange(streams)
        valid = (t >= first) & (at < len(text))
        inside = np.minimum(at, len(text) - 1)
        x, target = text[inside - 1], text[inside]
        state = None
        for start in tqdm(range(0, len(x), 100), desc="scoring", **LATE):
            part = slice(start, start + 100)
            y, state = model(x[part], state)
            losses = softmax_cross_entropy(y.data, target[part], reduction="none")
            total += float(losses[valid[part]].sum(dtype=np.float64))
    return total / n / math.log(2)


@checked
def sample(
    model: SequenceModel,
    vocabulary: Vocabulary,
    length: SizeOrZero,
    prime: str = "\n",
    temperature: NotNegative = 1.0,
    rng: np.random.Generator | int | None = None,
) -> str:
    """Write `length` characters after `prime`, one at a time, each drawn from the model's distribution.

    Args:
        model, vocabulary: a trained character model and its characters.
        length: how many characters.
        prime: what to read first; characters that the model does not know are an error.
        temperature: below 1 safer, above 1 wilder, 0 always the likeliest character.
        rng: generator or seed.

    Raises:
        InputError: an empty or unknown prime, a negative length or temperature.
    """
    if not prime:
        raise InputError("sample: got prime='', expected at least one character to start from")
    rng = generator(rng, "sample")
    written: list[int] = []
    with evaluating(model), no_grad():
        x, state = vocabulary.encode(prime)[:, None], None
        for _ in tqdm(range(length), desc="writing", **LATE):
            y, state = model(x, state, last=True)
            logits = y.data[0].astype(np.float64)
            if temperature == 0:
                drawn = int(np.argmax(logits))
            else:
                p = np.exp((logits - logits.max()) / temperature)
                drawn = int(rng.choice(len(p), p=p / p.sum()))
            written.append(drawn)
            x = np.array([[drawn]])
    return vocabulary.decode(written)


__all__ = ["Characters", "bits_per_character", "digest", "in_words", "sample"]
