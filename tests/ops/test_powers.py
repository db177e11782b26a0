"""Powers where a rule that is right to first order may be wrong to second."""

import numpy as np

import tinygrad_rnn as tg


def test_mixed_second_derivatives_at_an_exponent_of_zero() -> None:
    assert tg.gradcheck(np.power, [np.array([1.3, 0.4, 2.0]), np.array([0.0, 0.0, -1.5])], order=2)


def test_zero_to_the_power_of_zero_has_finite_derivatives() -> None:
    x, y = (tg.Tensor([0.0], requires_grad=True) for _ in range(2))
    by_x, by_y = tg.grad((x**y).sum(), [x, y], create_graph=True)
    assert by_x.item() == by_y.item() == 0
    assert all(np.isfinite(each.data).all() for each in tg.grad((by_x + by_y).sum(), [x, y]))
