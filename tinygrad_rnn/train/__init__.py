"""Training: one loop for any model, loss and data, with checkpoints, validation, and several processes."""

from .batches import Batches, predict
from .log import read_log
from .trainer import Result, Trainer

__all__ = ["Batches", "Result", "Trainer", "predict", "read_log"]
