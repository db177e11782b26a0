"""Backpropagation through time by hand, as an independent reference of the generic backprop.

`rnn`, `lstm` and `gru` are derivations in NumPy alone, which `by_hand` runs; `compare` puts them beside autodiff and
numbers.
"""

from .bias import Bias, truncation_bias
from .by_hand import gru, lstm, rnn
from .compare import Comparison, compare
from .problem import Gradients, Problem, windows

__all__ = ["Bias", "Comparison", "Gradients", "Problem", "compare", "gru", "lstm", "rnn", "truncation_bias", "windows"]
