"""Programs drawn from a grammar, compiled and eager: right results, which later calls leave alone, or a refusal.

`TINYGRAD_RNN_FUZZ=5000 pytest -m slow tests/compiler/test_fuzz.py` runs as many programs.
"""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from fuzz import BOTH_AT_ONCE, CALLS, Outcome, judge, shrink
from grammar import program

MANY = int(os.environ.get("TINYGRAD_RNN_FUZZ", "100"))


def sizes(seed: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two lengths and two batch sizes; some batches are empty."""
    rng = np.random.default_rng([seed, 1])
    lengths = [int(T) for T in rng.choice([1, 2, 3, 4, 5, 7, 9], 2)]
    batches = [int(B) for B in rng.choice([1, 2, 3, 4, 5, 0], 2, p=[0.2, 0.2, 0.2, 0.2, 0.18, 0.02])]
    return (lengths[0], lengths[1]), (batches[0], batches[1])


def judged(seed: int, small: bool, calls: list[tuple[int, int]]) -> Outcome:
    """What becomes of the program of a seed; fails with a short program to run if that is wrong."""
    source = program(seed, small)
    outcome = judge(source, sizes(seed), calls)
    if outcome.is_failure:
        short = shrink(source, lambda text: judge(text, sizes(seed), calls).kind == outcome.kind)
        pytest.fail(f"seed {seed}: {outcome.kind}, {outcome.what}; sizes {sizes(seed)}; in short:\n\n{short}")
    return outcome


@pytest.mark.parametrize("part", range(10))
def test_small_programs_are_right(part: int) -> None:
    kinds = Counter(judged(seed, True, CALLS[:3]).kind for seed in range(20 * part, 20 * part + 20))
    assert kinds["right"] >= 16, kinds


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_programs_are_right_at_every_length_and_batch_size(part: int) -> None:
    outcomes = [judged(100_000 + seed, False, BOTH_AT_ONCE if seed % 4 else CALLS) for seed in range(part, MANY, 10)]
    kinds = Counter(outcome.kind for outcome in outcomes)
    print(kinds, Counter(outcome.what for outcome in outcomes if outcome.kind == "refused").most_common())
    assert kinds["right"] >= 0.8 * len(outcomes), kinds


HARMLESS = """
def params(rng):
    return {"unused": rng.standard_normal(2)}
def loss_fn(p, xs, ids, mask, rng):
    h = np.zeros((xs.shape[1], I))
    for t, x in tg.steps(xs):
        h = np.tanh(x + h) * p["unused"].sum()
    return (h * h).sum()SPOILED
"""
HEAD = "import numpy as np\nimport tinygrad_rnn as tg\nI = 2\nMODULES = {}\nCALLED = []\n"


@pytest.mark.parametrize(
    ("spoiled", "kind"),
    [
        ("", "right"),
        (" + (CALLED.append(0) or len(CALLED))", "refused"),  # another value in every call, whatever the data
        (" + {}", "invalid"),
    ],
)
def test_the_judge_tells_programs_apart(spoiled: str, kind: str) -> None:
    assert judge(HEAD + HARMLESS.replace("SPOILED", spoiled), ((3, 2), (2, 1)), CALLS).kind == kind


def test_a_failing_program_is_made_short() -> None:
    source = HEAD + HARMLESS.replace("SPOILED", "")
    short = shrink(source, lambda text: "tanh" in text and judge(text, ((3, 2), (2, 1)), CALLS[:1]).kind == "right")
    assert "np.tanh" in short
    assert len(short) < 0.8 * len(source)
