"""Tasks, their data and settings, and trained models: what `tinygrad-rnn train`, `sample` and `eval` call."""

from .characters import Characters, bits_per_character, sample
from .model import SequenceModel, run_in_windows
from .real import Digits, Sunspots
from .run import TaskTrainer
from .settings import DEFAULTS, TASKS, Settings
from .synthetic import Adding, Copying, TemporalOrder
from .task import Task
from .trained import Trained, load_model

__all__ = [
    "DEFAULTS",
    "TASKS",
    "Adding",
    "Characters",
    "Copying",
    "Digits",
    "SequenceModel",
    "Settings",
    "Sunspots",
    "Task",
    "TaskTrainer",
    "TemporalOrder",
    "Trained",
    "bits_per_character",
    "load_model",
    "run_in_windows",
    "sample",
]
