"""Cells and layers, written only with ops, steps and scopes; names and shapes are those of `torch.nn`."""

from . import init
from .cells import Cell, GRUCell, LSTMCell, RNNCell
from .from_torch import from_torch
from .layers import Dropout, Embedding, LayerNorm, Linear, Sequential
from .module import Module, parameter
from .recurrent import GRU, LSTM, RNN, Recurrent, unroll
from .weights import load_weights, save_weights

__all__ = ["GRU", "LSTM", "RNN", "Cell", "Dropout", "Embedding", "GRUCell", "LSTMCell", "LayerNorm", "Linear", "Module"]
__all__ += ["RNNCell", "Recurrent", "Sequential", "from_torch", "init", "load_weights", "parameter", "save_weights"]
__all__ += ["unroll"]
