"""What a run is: one record of plain values, from which task, model and optimiser are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_type_hints

import numpy as np

from ... import optim
from ...core.arguments import (
    Count,
    Finite,
    NotNegative,
    Positive,
    Probability,
    Seeding,
    Size,
    SizeOrZero,
    check,
    checked,
)
from ...errors import InputError
from ...nn import Module
from .characters import Characters
from .digits import Digits
from .model import CellName, SequenceModel
from .series import Csv, digest_of, sunspots
from .synthetic import Adding, Copying, TemporalOrder
from .task import Task


def option(default: Any, words: str) -> Any:
    """A choice with its default, and what `tinygrad-rnn train --help` says of it."""
    return field(default=default, metadata={"words": words})


@dataclass(frozen=True)
class Settings:
    """Every choice of a run; a checkpoint holds it, so that a run continues as it began."""

    task: Literal["char", "adding", "copying", "order", "digits", "pixels", "csv", "sunspots"]
    text: str | None = option(None, "char: a UTF-8 file (default: the help topics that come with Python)")
    file: str | None = option(None, "csv: a file with the names of its columns in the first row")
    target: str | None = option(None, "csv: the name of the column to predict, one row ahead")
    columns: str | None = option(
        None, "csv: the columns to read beside the target, by commas (default: all that hold numbers)"
    )
    lag: SizeOrZero = option(
        100,
        "adding, copying, order: how many steps lie between cause and effect; csv: rows in a training window, or all "
        "rows to train on if those are fewer",
    )
    cell: CellName = option("lstm", "the recurrent cell")
    hidden: Size = option(128, "size of the hidden state")
    layers: Size = option(1, "number of recurrent layers")
    embedding: Size = option(64, "char: size of a character's vector")
    dropout: Probability = option(0.0, "probability of dropping an entry between layers")
    keep: Finite = option(0.0, "starting bias of the gate that keeps the state: f of an LSTM, z of a GRU")
    steps: Positive = option(2000, "number of updates")
    batch: Size = option(64, "sequences, or for char streams, per update")
    k1: Size = option(64, "char: characters per update")
    k2: Size | None = option(None, "how many steps back gradients travel (default: all; char: k1)")
    optimizer: Literal["sgd", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] = option("adam", "the update rule")
    lr: NotNegative = option(2e-3, "learning rate")
    schedule: Literal["constant", "cosine", "step", "exponential"] = option("constant", "how the learning rate changes")
    warmup: Count = option(0, "updates over which the cosine schedule rises")
    clip: NotNegative = option(1.0, "largest norm of the gradient, 0 for no clipping")
    clip_value: NotNegative = option(0.0, "largest entry of the gradient, 0 for no clipping")
    weight_decay: NotNegative = option(0.0, "decay of the weights")
    momentum: Probability = option(0.9, "of sgd and nesterov")
    patience: Count = option(0, "stop after so many evaluations without a better score, 0 for never")
    stop_at: Finite | None = option(None, "stop when the score is this good")
    eval_every: Positive = option(100, "updates between evaluations")
    save_every: Positive = option(100, "updates between checkpoints")
    seed: Seeding = option(0, "of weights, data and dropout")
    dtype: Literal["float32", "float64"] = option("float32", "float32, or float64 for exactness")
    compile: bool = option(False, "train with the compiled program of the model; results differ by rounding only")
    backend: Literal["auto", "numpy", "native"] | None = option(
        None, "the same, and what runs its loops: NumPy, or native code where llvmlite is installed (auto: native)"
    )

    def __post_init__(self) -> None:
        check("settings", vars(self), HINTS)

    @classmethod
    @checked
    def of(cls, task: str, **choices: Any) -> Settings:
        """The task's own defaults with these choices; `of(**settings.as_dict())` are the same settings.

        Raises:
            InputError: an unknown task, a choice that is unknown here or out of range.
        """
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(choices) - set(known)):
            raise InputError(f"settings: {', '.join(unknown)} is unknown here; there are {', '.join(known)}")
        return cls(**{"task": task, **DEFAULTS.get(task, {}), **choices})

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return asdict(self)

    def ends(self) -> list[str]:
        """How such a run may have stopped when it wrote a checkpoint."""
        return ["done", *(["early"] if self.patience else []), *(["target"] if self.stop_at is not None else [])]

    # ------------------------------------------------------------------ what they stand for
    def build_task(self) -> Task:
        """The task with its data."""
        return TASKS[self.task](self)

    def build_model(self, inputs: int, outputs: int, classes_in: bool) -> SequenceModel:
        """A fresh model, its weights drawn from the seed."""
        return SequenceModel(
            self.cell,
            inputs,
            outputs,
            self.hidden,
            self.layers,
            embedding=self.embedding if classes_in else 0,
            dropout=self.dropout,
            keep=self.keep,
            dtype=np.dtype(self.dtype),
            rng=self.seed,
        )

    def check_file(self, record: dict[str, Any]) -> None:
        """Refuse another CSV file than the one that a checkpoint remembers, before anything of it is read and shown.

        Raises:
            InputError: it is another one, or cannot be read.
        """
        if self.task == "csv" and digest_of(self.file or "") != record["file"]:
            raise InputError(f"{self.file} is not the file that this run began with; restore it, or give --file")

    def model_of(self, record: dict[str, Any]) -> SequenceModel:
        """A fresh model for what a checkpoint remembers of its data; no file is opened."""
        if self.task == "char":
            return self.build_model(len(record["characters"]), len(record["characters"]), True)
        if self.task == "csv":
            return self.build_model(len(record["columns"]), Csv.outputs, Csv.classes_in)
        task = self.build_task()
        return self.build_model(task.inputs, task.outputs, task.classes_in)

    def build_optimizer(self, model: Module) -> optim.Optimizer:
        """The optimiser of the model's parameters."""
        return OPTIMIZERS[self.optimizer](self, model.parameters())

    def build_schedule(self) -> optim.Schedule:
        """The learning rate's factor at each step."""
        return SCHEDULES[self.schedule](self)


TASKS: dict[str, Callable[[Settings], Task]] = {
    "char": lambda s: Characters(s.text, s.batch, s.k1, s.k1 if s.k2 is None else s.k2, s.seed, s.dtype),
    "adding": lambda s: Adding(s.lag, s.batch, s.seed, s.dtype, s.k2),
    "copying": lambda s: Copying(s.lag, s.batch, s.seed, s.dtype, s.k2),
    "order": lambda s: TemporalOrder(s.lag, s.batch, s.seed, s.dtype, s.k2),
    "digits": lambda s: Digits(False, s.batch, s.seed, s.dtype, s.k2),
    "pixels": lambda s: Digits(True, s.batch, s.seed, s.dtype, s.k2),
    "csv": lambda s: Csv(s.file, s.target, s.lag, s.batch, s.seed, s.dtype, s.k2, s.columns),
    "sunspots": lambda s: sunspots(s.seed, s.dtype, s.k2),
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "char": {"hidden": 256, "steps": 3000, "schedule": "cosine", "warmup": 50},
    "adding": {"hidden": 64, "steps": 6000, "lr": 1e-2, "stop_at": 0.001},
    "copying": {"hidden": 128, "steps": 6000, "lr": 1e-3},
    "order": {"hidden": 64, "steps": 4000, "stop_at": 0.999},
    "digits": {"hidden": 64, "steps": 1200, "lr": 3e-3, "schedule": "cosine"},
    "pixels": {"hidden": 64, "steps": 3000, "lr": 3e-3, "schedule": "cosine"},
    "csv": {"hidden": 32, "lag": 50, "steps": 1000, "lr": 5e-3, "eval_every": 50, "patience": 5},
    "sunspots": {"hidden": 16, "steps": 400, "lr": 5e-3, "eval_every": 20, "patience": 5},
}
"""What suits each task; every choice can be overridden."""

HINTS: dict[str, Any] = get_type_hints(Settings, include_extras=True)
"""What each choice may be."""

OPTIMIZERS: dict[str, Callable[[Settings, Any], optim.Optimizer]] = {
    "sgd": lambda s, ps: optim.SGD(ps, s.lr, s.momentum, s.weight_decay),
    "nesterov": lambda s, ps: optim.SGD(ps, s.lr, s.momentum, s.weight_decay, nesterov=True),
    "adagrad": lambda s, ps: optim.Adagrad(ps, s.lr, s.weight_decay),
    "rmsprop": lambda s, ps: optim.RMSprop(ps, s.lr, weight_decay=s.weight_decay),
    "adam": lambda s, ps: optim.Adam(ps, s.lr, weight_decay=s.weight_decay),
    "adamw": lambda s, ps: optim.AdamW(ps, s.lr, weight_decay=s.weight_decay),
}

SCHEDULES: dict[str, Callable[[Settings], optim.Schedule]] = {
    "constant": lambda s: optim.constant(),
    "cosine": lambda s: optim.cosine(s.steps, s.warmup),
    "step": lambda s: optim.step_decay(max(1, s.steps // 3)),
    "exponential": lambda s: optim.exponential(0.01 ** (1 / s.steps)),
}

__all__ = ["DEFAULTS", "HINTS", "TASKS", "Settings"]
