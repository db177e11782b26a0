"""Tasks and data, the training loop, checkpoints: what `tinygrad-rnn train`, `sample` and `eval` call."""

from .characters import Characters, bits_per_character, sample
from .log import Log, read_log
from .model import SequenceModel, run_in_windows
from .real import Digits, Sunspots
from .settings import DEFAULTS, TASKS, Settings
from .synthetic import Adding, Copying, TemporalOrder
from .task import Task, predict
from .trained import Trained, load_model
from .trainer import Result, Trainer

__all__ = [
    "DEFAULTS",
    "TASKS",
    "Adding",
    "Characters",
    "Copying",
    "Digits",
    "Log",
    "Result",
    "SequenceModel",
    "Settings",
    "Sunspots",
    "Task",
    "TemporalOrder",
    "Trained",
    "Trainer",
    "bits_per_character",
    "load_model",
    "predict",
    "read_log",
    "run_in_windows",
    "sample",
]
