"""Write the page of NumPy's functions: which have a rule on tensors, and which refuse.

    python docs/numpy_functions.py

The list is that of the installed NumPy; `tests/ops/test_function_table.py` holds the page to what the engine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.core.array import plain
from tinygrad_rnn.core.primitive import Primitive
from tinygrad_rnn.core.tensor import registry

PAGE = Path(__file__).parent / "reference" / "numpy.md"
MODULES = {
    "np": np,
    "np.linalg": np.linalg,
    "np.lib.stride_tricks": np.lib.stride_tricks,
    "np.fft": np.fft,
    "np.strings": np.strings,
}
BITS = {np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert}

STATES = {
    "rule": "differentiable to every order",
    "values": "works on tensors; its result has no gradient, and is a plain array",
    "refused": "raises an error that says so",
}


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Names and functions that NumPy asks the operands about before it computes: ufuncs and dispatched functions."""
    seen = set()
    for module, room in MODULES.items():
        for name in sorted(dir(room)):
            function = None if name.startswith("_") or name == "row_stack" else getattr(room, name)
            if isinstance(function, (np.ufunc, type(np.sum))) and function not in seen:
                seen.add(function)
                usual = getattr(function, "__name__", name)  # arccos, of which acos is another name
                yield f"{module}.{usual if getattr(room, usual, None) is function else name}", function


def state(function: Callable[..., Any]) -> str:
    """What a function does on tensors: a key of STATES."""
    found = registry.get(function)
    if found is None:
        return "values" if function in plain or function in BITS else "refused"
    return "values" if isinstance(found, Primitive) and not found.differentiable else "rule"


def table() -> dict[str, str]:
    """The state of each function; those of `np` itself first."""
    listed = sorted(functions(), key=lambda each: (each[0].count("."), each[0]))
    return {name: state(function) for name, function in listed}


def page() -> str:
    listed = table()
    count = {key: list(listed.values()).count(key) for key in STATES}
    lines = [
        "# NumPy's functions",
        "",
        "<!-- Written by docs/numpy_functions.py: do not edit. -->",
        "",
        f"NumPy {np.__version__} lets {len(listed)} of its functions be taken over by tensors.",
        f"{count['rule']} have a rule, {count['values']} give plain values and {count['refused']} are refused.",
        "`np.sum(t)` and `tg.sum(t)` are the same call. What is missing can be added with `tg.primitive`.",
    ]
    for key, words in STATES.items():
        names = [f"`{name}`" for name, each in listed.items() if each == key]
        lines += ["", f"## {key.capitalize()}: {words}", "", ", ".join(names)]
    methods = sorted(f"`np.{f.__self__.__name__}.{f.__name__}`" for f in registry if hasattr(f, "__self__"))
    lines += ["", "## Methods of ufuncs", "", ", ".join(methods), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
