"""A trained model, read from what a run has kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from ...core.arguments import checked
from ...errors import InputError
from ...files import as_path
from ...train.saved import BEST, Checkpoint, load, load_newest, under
from ..text import Vocabulary, read_text
from .characters import digest
from .model import SequenceModel
from .schema import check
from .series import Csv
from .settings import Settings
from .task import Task


class Trained(NamedTuple):
    """A model, and what it was trained on."""

    model: SequenceModel
    settings: Settings
    vocabulary: Vocabulary | None
    """Of a character model."""
    data: dict[str, Any]
    """What the checkpoint remembers of the data."""

    def task(self, file: str | Path | None = None) -> Task:
        """The task with the data that the model was trained on.

        Args:
            file: another CSV file instead, all of whose rows the model is then asked about.

        Raises:
            InputError: the text or file cannot be read, or is another one now.
        """
        s = self.settings
        if file is not None:
            if s.task != "csv":
                raise InputError(f"this model was trained on {s.task}; another file is for models of csv")
            return Csv(file, s.target, s.lag, s.batch, s.seed, s.dtype, s.k2, known=self.data)
        s.check_file(self.data)
        task = s.build_task()
        task.check_record(self.data, self.settings.text)
        return task

    def text(self, at_least: int) -> str:
        """The text that a character model was trained on.

        Raises:
            InputError: as `task`. A record may name any file, so nothing of another text is shown.
        """
        written = read_text(self.settings.text, at_least)
        if digest(written) != self.data["text"]:
            raise InputError(f"{self.settings.text} is not the text that this run began with; give a text with --text")
        return written


@checked
def load_model(path: str | Path) -> Trained:
    """A trained model, with what it was trained on.

    Args:
        path: a run's folder (its best weights, else the newest checkpoint), or one checkpoint.

    Raises:
        InputError: there is none, or it is damaged, or does not fit its own settings.
    """
    place = as_path(path, "load_model")
    if not os.path.isdir(place):  # as for no folder, where the name is one that none can have
        saved = _checked(place)
    elif (place / BEST).exists():
        saved = _checked(place / BEST)
    else:
        saved, _ = load_newest(place, check)
    settings, data = Settings.of(**saved.record["settings"]), saved.record["task"]
    vocabulary = Vocabulary(data["characters"]) if "characters" in data else None
    model = settings.model_of(data)
    model.load_state_dict(under("model.", saved.arrays))
    model.eval()
    return Trained(model, settings, vocabulary, data)


def _checked(path: Path) -> Checkpoint:
    saved = load(path)
    check(path, saved)
    return saved


__all__ = ["Trained", "load_model"]
