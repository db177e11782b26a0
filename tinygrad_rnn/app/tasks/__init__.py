"""Tasks, their data and settings, and trained models: what `tinygrad-rnn train`, `sample` and `eval` call."""

from .characters import Characters, bits_per_character, sample
from .digits import Digits
from .model import SequenceModel, run_in_windows
from .run import TaskTrainer
from .series import Csv, Series, read_csv, sunspots
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
    "Csv",
    "Digits",
    "SequenceModel",
    "Series",
    "Settings",
    "Task",
    "TaskTrainer",
    "TemporalOrder",
    "Trained",
    "bits_per_character",
    "load_model",
    "read_csv",
    "run_in_windows",
    "sample",
    "sunspots",
]
