"""Every operation of the table against PyTorch: the same operands, the same value, the same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calculus import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops import FAST, WITHOUT_GRADIENT, outputs_of, wanting

import tinygrad_rnn as tg

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(CASES))
@settings(FAST, max_examples=60)
@given(data=st.data())
def test_an_operation_is_pytorchs(name: str, data: Any) -> None:
    torch = pytest.importorskip("torch")
    case = CASES[name]
    operands, params = data.draw(case.draw)
    ours = wanting(operands)
    theirs = [torch.tensor(x.copy(), requires_grad=x.dtype.kind == "f") for x in operands]
    results = outputs_of(case.fn(*ours, **params))
    expected = outputs_of(case.torch(torch, *theirs, **params))
    for result, other in zip(results, expected, strict=True):
        values = result.data if isinstance(result, tg.Tensor) else result
        np.testing.assert_allclose(values, other.detach().numpy(), rtol=1e-11, atol=1e-12)
        assert np.shape(values) == tuple(other.shape)
    if name in WITHOUT_GRADIENT:
        return
    rng = np.random.default_rng(0)
    seeds = [rng.normal(size=y.shape) for y in results]
    wanted = [t for t in ours if t.requires_grad]
    gradients = tg.grad(results, wanted, grad_output=seeds)
    total = sum((y * torch.tensor(s)).sum() for y, s in zip(expected, seeds, strict=True))
    references = torch.autograd.grad(total, [t for t in theirs if t.requires_grad], allow_unused=True)
    for g, other in zip(gradients, references, strict=True):
        reference = np.zeros(g.shape) if other is None else other.numpy()
        np.testing.assert_allclose(g.data, reference, rtol=1e-10, atol=1e-11)
