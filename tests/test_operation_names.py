"""What is known of an operation stands beside it, in `ops/`: elsewhere the code does not compare operations' names.

It reads traits (`primitive.traits.elementwise`), or means one operation (`primitive is matmul`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import tinygrad_rnn
from tinygrad_rnn.core.primitive import composites, primitives

PACKAGE = Path(tinygrad_rnn.__file__).parent
NAMES = {*primitives, *composites, "contract"}

OTHER_WORDS = {
    "app/tasks/commands.py": "settings of the command line",
    "train/saved.py": "the kind of a file",
    "app/tasks/settings.py": "settings of the command line",
    "bptt/losses.py": "the losses that have a derivation by hand",
    "bptt/problem.py": "the losses that have a derivation by hand",
    "bptt/references.py": "the losses that have a derivation by hand",
    "compiler/reference.py": "the losses that have a derivation by hand",
    "compiler/verify.py": "NumPy's functions in the source that is written",
    "compiler/vocabulary.py": "NumPy's functions in the source that is written",
    "derivatives/checkpoint.py": "a way to choose how many steps to keep",
    "flow/watch.py": "the entries of a record",
    "nn/cells.py": "the argument nonlinearity= of a layer",
    "viz/animate.py": "the role of a line of text",
    "viz/page/explorer.py": "the kind of a cell",
    "viz/passes.py": "the role of a line of text",
    "viz/plots.py": "the scale of an axis",
    "viz/render.py": "the program dot",
    "viz/unrolled.py": "the program dot",
}
"""Where words are compared that happen to be names of operations too."""

REASONS = {
    ("compiler/picture.py", "contract"): "the words for it in a picture of a program: only the compiler makes it",
    ("compiler/source.py", "cross_entropy_of_classes"): "a short name for a variable of the source",
    ("compiler/source.py", "cross_entropy_of_logits"): "a short name for a variable of the source",
    ("compiler/source.py", "getitem"): "a short name for a variable of the source",
    ("compiler/written.py", "sigmoid"): "a word of the source that is written",
    ("debug/messages.py", "matmul"): "the remedy for shapes that do not fit; this room knows no operations",
}
"""The comparisons that stay, 15 at most."""

NATIVE = 44
"""How many there are in native code besides; it goes down only."""


def compared(source: str) -> Iterator[tuple[int, str]]:
    """Operations' names that are compared, or looked up in a set or dictionary, with their lines."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            parts: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, (ast.Set, ast.MatchValue)):
            parts = [node]
        else:
            continue
        for each in (x for part in parts for x in ast.walk(part)):
            if isinstance(each, ast.Constant) and each.value in NAMES:
                found.add((each.lineno, each.col_offset, each.value))
    for line, _, name in sorted(found):
        yield line, name


def test_names_of_operations_are_not_compared_outside_ops() -> None:
    found = [
        (path.relative_to(PACKAGE).as_posix(), line, name)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "ops" and path.relative_to(PACKAGE).as_posix() not in OTHER_WORDS
        for line, name in compared(path.read_text(encoding="utf-8"))
    ]
    native = [each for each in found if each[0].startswith("compiler/native/")]
    assert len(native) <= NATIVE, native
    rest = {(file, name) for file, _, name in found if not file.startswith("compiler/native/")}
    assert rest <= set(REASONS), found
    assert len(REASONS) <= 15


def test_a_comparison_is_found() -> None:
    source = 'if p.name == "tanh" or p.name in ("add", "relu"): pass\nKINDS = {"exp": 1}\nx = "log"\n'
    assert [name for _, name in compared(source)] == ["tanh", "add", "relu", "exp"]
