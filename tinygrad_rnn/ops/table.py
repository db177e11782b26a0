"""An entry of the table of calculus, in a line: a ufunc, and for each operand its rule and how that reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.operation import Vjp
from ..core.primitive import Primitive, primitive
from ..core.traits import Traits


def entry(function: np.ufunc, doc: str, *rules: tuple[Vjp, str], name: str | None = None, **traits: Any) -> Primitive:
    """Make a ufunc differentiable.

    Args:
        function: the ufunc.
        doc: what it computes.
        rules: for each operand the rule `(g, y, *operands) -> gradient`, and the same as `Traits.backward` has it.
        name: what errors and pictures call it; by default the ufunc's name.
        traits: the other `Traits`.
    """
    vjps, backward = zip(*rules, strict=True)
    return primitive(function, vjps=vjps, doc=doc, name=name, traits=Traits(backward=backward, **traits))
