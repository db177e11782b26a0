"""The examples run as they stand, say what they claim, and leave their pictures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "arguments", "says", "pictures"),
    [
        ("three_steps_by_hand", [], "step 2 contributes", ["svg"]),
        ("vanishing_and_exploding", [], "radius 0.5: over 49 steps", ["png"]),
        ("truncation", [], "radius 1.0: the gradient is wrong by", ["png", "svg"]),
        ("weight_sharing", [], "the same loss", ["png"]),
        pytest.param("csv_series", [], "the row after the last", ["png", "csv"], marks=SLOW),
        ("character_rnn", ["TEXT", "30"], "after training", ["png", "svg"]),
        pytest.param("lstm_and_gru", ["100"], "GRU, keep gate +3", ["png"], marks=SLOW),
        pytest.param("cost", [], "(theory: H^2)", ["png"], marks=SLOW),
        pytest.param("pytorch_under_the_lens", [], "the same gradient", ["png"], marks=SLOW),
    ],
)
def test_an_example_tells_its_story(tmp_path, name, arguments, says, pictures):
    if "pytorch" in name:
        pytest.importorskip("torch")
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog; " * 200)
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *(str(text) if a == "TEXT" else a for a in arguments)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert "written to pictures: " in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "text.txt"}
    for ending in pictures:
        assert (tmp_path / "pictures" / f"{name}.{ending}").stat().st_size > 1000
