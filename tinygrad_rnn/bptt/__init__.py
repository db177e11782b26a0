"""Backpropagation through time by hand, as an independent reference of the generic backprop.

`rnn`, `lstm` and `gru` are derivations in NumPy alone; `compare` puts them beside autodiff and numbers.
"""

from .bias import Bias, truncation_bias
from .compare import Comparison, compare
from .gru import gru
from .lstm import lstm
from .problem import Gradients, Problem, windows
from .rnn import rnn

__all__ = ["Bias", "Comparison", "Gradients", "Problem", "compare", "gru", "lstm", "rnn", "truncation_bias", "windows"]
