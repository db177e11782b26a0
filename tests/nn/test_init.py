"""How initial weights are spread."""

import math

import numpy as np
import pytest

from tinygrad_rnn import nn


def test_cells_start_evenly_up_to_one_over_the_root_of_their_size():
    for weight in (nn.RNNCell(50, 64, rng=0).weight_ih, nn.LSTMCell(50, 64, rng=0).bias_hh):
        assert 0.97 / 8 < np.abs(weight.data).max() < 1 / 8


@pytest.mark.parametrize(
    ("fn", "variance"),
    [(nn.init.he_uniform, 2 / 300), (nn.init.he_normal, 2 / 300), (nn.init.xavier_uniform, 2 / 500)],
)
def test_variances(fn, variance):
    assert fn((200, 300), 0).var() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("shape", [(5, 2), (2, 5), (3, 3)])
def test_singular_values_are_the_gain(shape):
    made = nn.init.orthogonal(shape, 0, gain=math.sqrt(2))
    assert made.shape == shape
    np.testing.assert_allclose(np.linalg.svd(made, compute_uv=False), math.sqrt(2))
