"""A user's operation is written in pictures and pages as its traits say."""

from __future__ import annotations

import numpy as np
from picture_checks import story_of

import tinygrad_rnn as tg
from tinygrad_rnn.core.primitive import Primitive

blend = Primitive(
    lambda a, b: (a + b) / 2,
    [lambda g, y, a, b: g / 2, lambda g, y, a, b: g / 2],
    "blend",
    "",
    tg.Traits(elementwise=True, symbol="⋆", infix=True, backward=("half of g", "half of g")),
)


def loss_of(steps: int = 3) -> tg.Tensor:
    w = tg.Tensor(np.ones(2), requires_grad=True, name="w")
    h = tg.Tensor(np.zeros(2), name="h0")
    for _, x in tg.steps(np.ones((steps, 2))):
        h = blend(h * -w, w) + x
    return h.sum()


def test_a_users_operation_has_its_symbol_in_pictures() -> None:
    text = tg.viz.unrolled(tg.gradient_flow(loss_of()), detail="op").source
    assert "⋆ w" in text
    assert "⊙ −w" in text
    assert "blend" not in text.replace("= blend", "")


def test_a_users_operation_has_its_formulas_on_pages() -> None:
    events = str(story_of(tg.viz.page(tg.gradient_flow(loss_of())).html())["events"])
    assert "⋆ w" in events
    assert "half of g" in events
