"""Tasks, the training loop, checkpoints and the commands: what is learnt, saved, refused and continued."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.app import tasks
from tinygrad_rnn.app.tasks.commands import add_commands
from tinygrad_rnn.files import make_folder
from tinygrad_rnn.train import saved
from tinygrad_rnn.train.saved import Checkpoint

ROOT = Path(__file__).parents[2]
SOURCES = {"digits": "sklearn", "pixels": "sklearn", "sunspots": "statsmodels"}
TEXT = "the quick brown fox jumps over the lazy dog; " * 60


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return str(path)


def settings(text, **changes):
    choices = {
        "text": text,
        "hidden": 12,
        "embedding": 6,
        "batch": 4,
        "k1": 8,
        "steps": 20,
        "dropout": 0.2,
        "eval_every": 10,
        "save_every": 5,
        "lr": 0.01,
    }
    return tasks.Settings.of("char", **{**choices, **changes})


def quiet(line):
    """Instead of print."""


def weights(trainer):
    return trainer.model.state_dict()


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


# ---------------------------------------------------------------------- truncation
def test_truncate_cuts_any_state_and_keeps_the_values():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    h, c = x * 2, x * 3
    cut, (deeper,) = tg.truncate((h, [c]))
    assert np.array_equal(cut.data, h.data)
    assert np.array_equal(deeper.data, c.data)
    assert not cut.requires_grad
    assert cut.cut_from == h.index
    assert tg.truncate(None) is None
    with pytest.raises(tg.DTypeError, match="truncate: got str"):
        tg.truncate("h")


def test_truncation_only_loses_what_lies_before_the_cut():
    model = tasks.SequenceModel("rnn", 2, 1, 5, dtype=np.float64, rng=0)
    x = np.random.default_rng(0).standard_normal((9, 3, 2))

    def gradients(window):
        model.zero_grad()
        y = tasks.run_in_windows(model, x, window)
        (y * y).sum().backward()
        return y.data, {name: p.grad for name, p in model.named_parameters()}

    full, exact = gradients(None)
    bias = []
    for window in (1, 2, 4, 7, 9, 20):
        y, truncated = gradients(window)
        np.testing.assert_allclose(y, full, rtol=1e-12)  # the values never change
        bias.append(np.abs(truncated["rnn.weight_hh_l0"] - exact["rnn.weight_hh_l0"]).max())
    assert bias[0] > bias[2] > 0
    assert bias[-1] == bias[-2] == 0
    last = tasks.run_in_windows(model, x, 4, last=True)
    np.testing.assert_allclose(last.data, full[-1], rtol=1e-12)


# ---------------------------------------------------------------------- tasks
def test_the_adding_problem_is_what_it_says():
    task = tasks.Adding(20, 16, seed=0, dtype=np.float64)
    x, target = task.batch(3)
    assert x.shape == (20, 16, 2)
    marks = x[:, :, 1]
    assert (marks[:10].sum(0) == 1).all()
    assert (marks[10:].sum(0) == 1).all()
    np.testing.assert_allclose(target[:, 0], (x[:, :, 0] * marks).sum(0))
    assert np.array_equal(x, task.batch(3)[0])
    assert not np.array_equal(x, task.batch(4)[0])
    assert not np.array_equal(task.test_set()[0][:, :16], task.batch(0)[0])


def test_copying_and_temporal_order_are_what_they_say():
    x, target = tasks.Copying(15, 4, seed=0, dtype=np.float32).batch(0)
    classes = x.argmax(-1)
    assert classes.shape == target.shape == (35, 4)
    assert np.array_equal(classes[:10], target[-10:])
    assert (target[:25] == 8).all()
    assert (classes[24] == 9).all()
    x, target = tasks.TemporalOrder(50, 64, seed=0, dtype=np.float32).batch(0)
    for column, label in zip(x.argmax(-1).T, target, strict=True):
        first, second = column[column < 2]
        assert label == 2 * first + second


def test_digits_and_sunspots_hold_out_what_they_score():
    pytest.importorskip("sklearn")
    pytest.importorskip("statsmodels")
    rows, pixels = tasks.Digits(False, 32, 0, np.float32), tasks.Digits(True, 32, 0, np.float32)
    assert rows.batch(0)[0].shape == (8, 32, 8)
    assert pixels.batch(0)[0].shape == (64, 32, 1)
    assert np.array_equal(rows.train[0][:, 0].ravel(), pixels.train[0][:, 0].ravel())
    assert len(rows.train[1]) + len(rows.test[1]) == 1797
    seen = np.concatenate([rows.batch(i)[0].reshape(64, -1, order="F").T for i in range(45)])
    assert len(seen) == len(rows.train[1])
    sunspots = tasks.sunspots(0, np.float64)
    x, target = sunspots.batch(0)
    assert np.array_equal(x[1:], target[:-1])
    assert len(x) == sunspots.split - 1
    assert sunspots.score(tasks.SequenceModel("rnn", 1, 1, 3, rng=0)) > 0


def test_character_windows_tile_the_text_and_carry_on(text):
    task = tasks.Characters(text, batch=3, k1=8, k2=8, seed=1, dtype=np.float64)
    for step in range(task.updates):
        (x, target), (following, _) = task.batch(step), task.batch(step + 1)
        assert task.carries(step) == (step > 0)
        assert np.array_equal(x[1:], target[:-1])
        assert np.array_equal(target[-1], following[0]) == (step < task.updates - 1)
    assert not task.carries(task.updates)
    assert len(task.train_ids) + len(task.held_ids) == len(TEXT)


def test_windows_longer_than_the_update_look_further_back(text):
    """k1 = 4, k2 = 12: only the last 4 losses count, and gradients travel 12 steps back to a cut."""
    for k2 in (6, 12):
        task = tasks.Characters(text, batch=2, k1=4, k2=k2, seed=1, dtype=np.float64)
        model = tasks.SequenceModel("gru", task.inputs, task.outputs, 5, embedding=3, rng=0)
        state = model.zeros(2)
        for step in range(3):
            x, target = task.batch(step)
            loss, carried = task.objective(model, x, target, state)
            y, _ = model(x, state)
            np.testing.assert_allclose(loss.item(), task.error(y[-4:], target[-4:]).item())
            np.testing.assert_allclose(carried.data, model(x[:4], state)[1].data)
            state = tg.truncate(carried)
    with pytest.raises(tg.InputError, match="k2"):
        tasks.Characters(text, batch=2, k1=8, k2=4, seed=1, dtype=np.float64)


def test_bits_per_character_count_every_character_once():
    model = tasks.SequenceModel("lstm", 5, 5, 4, embedding=3, dtype=np.float64, rng=0)
    ids = np.random.default_rng(0).integers(0, 5, 90)
    logits = model(ids[:, None])[0].data[:, 0]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    bits = -log_p[np.arange(89), ids[1:]] / np.log(2)
    assert tasks.bits_per_character(model, ids) == pytest.approx(bits.mean())
    assert tasks.bits_per_character(model, ids[30:], ids[:30]) == pytest.approx(bits[29:].mean())
    for p in model.parameters():
        p.data[...] = 0
    assert tasks.bits_per_character(model, np.arange(50_003) % 5) == pytest.approx(np.log2(5))
    assert tasks.bits_per_character(model, np.arange(303) % 5, np.arange(7) % 5) == pytest.approx(np.log2(5))


def test_an_open_gate_starts_open_and_changes_nothing_else():
    plain, opened = (tasks.SequenceModel("lstm", 2, 1, 3, keep=k, rng=0).state_dict() for k in (0.0, 2.5))
    assert np.array_equal(opened["rnn.bias_hh_l0"][3:6], [2.5, 2.5, 2.5])
    opened["rnn.bias_hh_l0"][3:6] = plain["rnn.bias_hh_l0"][3:6]
    assert_same(plain, opened)


def test_temperature_moves_between_the_likeliest_and_chance(text):
    trainer = tasks.TaskTrainer(settings(text, steps=150, dropout=0.0, eval_every=150))
    result = trainer.run(quiet, progress=False)
    assert result.score < 2.0
    write = lambda **o: tasks.sample(trainer.model, trainer.task.vocabulary, 40, "the ", **o)  # noqa: E731
    assert write(temperature=0) == write(temperature=0, rng=1)
    assert write(temperature=1e-3, rng=2) == write(temperature=0)
    assert write(temperature=1.0, rng=0) == write(temperature=1.0, rng=0)
    assert write(temperature=5.0, rng=0) != write(temperature=5.0, rng=1)
    assert len(write(temperature=5.0, rng=0)) == 40
    with pytest.raises(tg.InputError, match="temperature=-1"):
        write(temperature=-1)
    with pytest.raises(tg.InputError, match="does not occur"):
        tasks.sample(trainer.model, trainer.task.vocabulary, 4, "#")


@pytest.mark.parametrize(
    ("task", "optimizer"),
    [
        ("adding", "adam"),
        ("copying", "adamw"),
        ("order", "nesterov"),
        ("digits", "sgd"),
        ("pixels", "rmsprop"),
        ("sunspots", "adagrad"),
    ],
)
def test_every_task_trains(task, optimizer):
    if task in SOURCES:
        pytest.importorskip(SOURCES[task])
    options = {"hidden": 8, "steps": 4, "eval_every": 2, "batch": 16, "optimizer": optimizer, "lr": 0.01, "lag": 20}
    lines = []
    trainer = tasks.TaskTrainer(tasks.Settings.of(task, **options))
    start = weights(trainer)
    result = trainer.run(lines.append, progress=False)
    assert result.step == 4
    assert len(lines) == 2
    assert np.isfinite(result.score)
    assert all(not np.array_equal(start[n], w) for n, w in weights(trainer).items())


def test_a_lag_longer_than_the_window_gives_no_gradient_to_learn_from():
    """Truncated to 5 steps, a target that is decided 15 steps back leaves no trace in the gradient."""
    model = tasks.SequenceModel("rnn", 1, 1, 4, dtype=np.float64, rng=0)
    x = tg.Tensor(np.zeros((20, 1, 1)), requires_grad=True)
    tasks.run_in_windows(model, x, 5, last=True).sum().backward()
    assert not x.grad[:15].any()
    assert x.grad[15:].all()


# ---------------------------------------------------------------------- stopping and logging
def test_early_stopping_and_target(text, tmp_path):
    stuck = tasks.TaskTrainer(settings(text, steps=500, lr=0.0, eval_every=5, patience=3))
    assert stuck.run(quiet, progress=False)[0::3] == (20, "early")
    easy = tasks.TaskTrainer(settings(text, steps=500, eval_every=5, stop_at=4.5))
    result = easy.run(quiet, progress=False)
    assert result.stopped == "target"
    assert result.best <= 4.5
    folder = tmp_path / "run"
    tasks.TaskTrainer(settings(text, steps=500, lr=0.0, eval_every=5, patience=3), folder).run(quiet, progress=False)
    assert tasks.TaskTrainer.of(folder).run(quiet, progress=False)[0::3] == (20, "early")
    assert tasks.TaskTrainer.of(folder, steps=24).run(quiet, progress=False).step > 20


def test_the_log_has_a_line_per_evaluation_and_forgets_a_torn_one(text, tmp_path):
    folder = tmp_path / "run"
    tasks.TaskTrainer(settings(text), folder).run(quiet, progress=False)
    path = folder / "log.jsonl"
    records = tg.train.read_log(path)
    assert [r["step"] for r in records] == [10, 20]
    assert all(0 < r["score"] < 10 and r["gradient_norm"] > 0 and r["learning_rate"] >= 0 for r in records)
    path.write_bytes(path.read_bytes() + b'{"step": 2')
    assert tg.train.read_log(path) == records
    tasks.TaskTrainer.of(folder, steps=30).run(quiet, progress=False)
    assert [r["step"] for r in tg.train.read_log(path)] == [10, 20, 30]


def test_the_progress_bar_shows_loss_norm_and_speed(text, capsys):
    tasks.TaskTrainer(settings(text)).run(quiet, progress=True)
    shown = capsys.readouterr().err
    assert "loss" in shown
    assert "|grad|" in shown
    assert "time steps/s" in shown


# ---------------------------------------------------------------------- checkpoints
@pytest.mark.parametrize(
    "changes", [{}, {"cell": "gru", "optimizer": "rmsprop", "k2": 16}, {"layers": 2, "schedule": "cosine"}]
)
def test_a_run_in_pieces_is_the_run_in_one(text, tmp_path, changes):
    whole = tasks.TaskTrainer(settings(text, **changes))
    whole.run(quiet, progress=False)
    pieces = tasks.TaskTrainer(settings(text, **changes), tmp_path / "run")
    make_folder(tmp_path / "run")
    pieces._open()
    for stop in (5, 10, 15):
        while pieces.step < stop:
            pieces.advance()
        pieces.save()
        pieces = tasks.TaskTrainer.of(tmp_path / "run")
        assert pieces.step == stop
    pieces.run(quiet, progress=False)
    assert_same(weights(whole), weights(pieces))
    again = tasks.TaskTrainer.of(tmp_path / "run")
    assert again.run(quiet, progress=False).step == 20
    assert_same(weights(whole), weights(again))


def test_damaged_checkpoints_are_refused_and_the_previous_one_is_used(text, tmp_path):
    folder = tmp_path / "run"
    tasks.TaskTrainer(settings(text), folder).run(quiet, progress=False)
    previous, newest = sorted(folder.glob("step-*"))
    good, rng = newest.read_bytes(), random.Random(0)
    damaged = [good[:n] for n in (0, 5, 100, len(good) // 2, len(good) - 1)]
    for _ in range(40):
        at = rng.randrange(len(good))
        damaged.append(good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :])
    for content in damaged:
        newest.write_bytes(content)
        with pytest.raises(tg.InputError, match="checkpoint"):
            saved.load(newest)
    trainer = tasks.TaskTrainer.of(folder)
    assert trainer.step == 15
    assert len(trainer.refused) == 1
    assert "damaged" in trainer.refused[0]
    trainer.run(quiet, progress=False)
    assert newest.read_bytes() == good  # the same step again, bit for bit
    for path in (previous, newest):
        path.write_bytes(b"")
    with pytest.raises(tg.InputError, match="no usable checkpoint"):
        tasks.TaskTrainer.of(folder)


def test_what_a_kill_left_half_written_is_cleared_away(text, tmp_path):
    folder = tmp_path / "run"
    tasks.TaskTrainer(settings(text), folder).run(quiet, progress=False)
    (folder / ".step-000000025.safetensors.x1y2z3").write_bytes(b"half")
    tasks.TaskTrainer.of(folder, steps=25).run(quiet, progress=False)
    assert sorted(p.name for p in folder.iterdir()) == [
        "best.safetensors",
        "log.jsonl",
        "step-000000020.safetensors",
        "step-000000025.safetensors",
    ]


def test_a_checkpoint_holds_no_pickle_and_changed_data_is_refused(text, tmp_path):
    folder = tmp_path / "run"
    tasks.TaskTrainer(settings(text), folder).run(quiet, progress=False)
    content = next(iter(folder.glob("step-*"))).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert "optimizer.0.mean" in header
    Path(text).write_text(TEXT.replace("fox", "cat"))
    with pytest.raises(tg.InputError, match="not the text"):
        tasks.TaskTrainer.of(folder)


def test_what_is_on_disk_survives_a_disk_that_is_full(text, tmp_path):
    """A file size limit stands in for the full disk: the system call fails in the same place."""
    folder = tmp_path / "run"
    tasks.TaskTrainer(settings(text), folder).run(quiet, progress=False)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code = f"""
import resource
from tinygrad_rnn.app import tasks
from tinygrad_rnn import InputError
trainer = tasks.TaskTrainer.of({str(folder)!r}, steps=40)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    trainer.run(print, progress=False)
except InputError as error:
    print("refused:", error)
"""
    done = run_python("-c", code)
    assert "refused: cannot write" in done.stdout
    assert {path: path.read_bytes() for path in folder.iterdir()} == {
        path: content if path.suffix != ".jsonl" else path.read_bytes() for path, content in before.items()
    }
    assert tg.train.read_log(folder / "log.jsonl")[:2] == [
        json.loads(line) for line in before[folder / "log.jsonl"].splitlines()
    ]
    resumed = tasks.TaskTrainer.of(folder, steps=40)
    assert resumed.step == 20
    resumed.run(quiet, progress=False)
    whole = tasks.TaskTrainer(settings(text, steps=40))
    whole.run(quiet, progress=False)
    assert_same(weights(whole), weights(resumed))


def run_python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
        **options,
    )


RUN = """
import sys
from pathlib import Path
from tinygrad_rnn.app import tasks
folder, text, steps = sys.argv[1:]
if any(Path(folder).glob("step-*")):
    trainer = tasks.TaskTrainer.of(folder)
else:
    sizes = dict(hidden=12, embedding=6, batch=4, k1=8, dropout=0.2)
    choices = dict(text=text, steps=int(steps), lr=0.01, eval_every=7, save_every=3, **sizes)
    trainer = tasks.TaskTrainer(tasks.Settings.of("char", **choices), folder)
trainer.run(lambda line: None, progress=False)
"""


def survive(kills, steps, text, folder):
    """Kill a run at so many random moments and resume it each time; its final checkpoint."""
    rng, environment = random.Random(kills), {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, str(folder), text, str(steps)]
    killed = 0
    while killed < kills:
        process = subprocess.Popen(command, env=environment)
        before = saved._by_age(folder)[:1]
        deadline = time.monotonic() + 60
        while saved._by_age(folder)[:1] == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)  # wait for a sign of life, then for a random while
        time.sleep(rng.random() * 0.05)
        assert process.poll() is None, "the run ended before it was killed often enough"
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert run_python("-c", RUN, str(folder), text, str(steps)).returncode == 0
    return saved.load_newest(folder)[0]


@pytest.mark.parametrize(
    ("kills", "steps"), [(1, 100), pytest.param(50, 3000, marks=pytest.mark.slow)], ids=["a kill", "50 kills"]
)
def test_a_run_killed_at_random_moments_ends_with_the_very_same_weights(text, tmp_path, kills, steps):
    survived = survive(kills, steps, text, tmp_path / "killed")
    assert run_python("-c", RUN, str(tmp_path / "whole"), text, str(steps)).returncode == 0
    whole = saved.load_newest(tmp_path / "whole")[0]
    assert_same(whole.arrays, survived.arrays)
    assert whole.record == survived.record
    assert not list((tmp_path / "killed").glob(".*"))  # nothing half-written stays behind
    steps_logged = [
        [r["step"] for r in tg.train.read_log(tmp_path / name / "log.jsonl")] for name in ("whole", "killed")
    ]
    assert steps_logged[0] == steps_logged[1]


# ---------------------------------------------------------------------- weights in files
@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_weights_travel_through_files(tmp_path, ending):
    model, other = nn.LSTM(2, 3, rng=0), nn.LSTM(2, 3, rng=1)
    path = nn.save_weights(model, tmp_path / f"model{ending}")
    other.load_state_dict(nn.load_weights(path))
    assert_same(model.state_dict(), other.state_dict())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(tg.InputError, match="damaged"):
        nn.load_weights(path)
    with pytest.raises(tg.InputError, match="cannot read"):
        nn.load_weights(tmp_path / f"missing{ending}")
    with pytest.raises(tg.InputError, match=r"expected a name that ends in .safetensors or .npz"):
        nn.save_weights(model, tmp_path / "model.pickle")


def test_pickled_objects_are_not_loaded(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, weight=np.array([{"a": 1}], dtype=object))
    with pytest.raises(tg.InputError, match="damaged, or not"):
        nn.load_weights(path)


@pytest.mark.slow
def test_a_model_saved_by_torch_opens_here_and_back(tmp_path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    theirs = torch.nn.GRU(3, 4, num_layers=2, bidirectional=True)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours = nn.GRU(3, 4, num_layers=2, bidirectional=True, dtype=np.float32, rng=0)
    ours.load_state_dict(nn.load_weights(tmp_path / "theirs.safetensors"))
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(x)[0].data, theirs(torch.tensor(x))[0].detach().numpy(), atol=1e-6)
    back = torch.nn.GRU(3, 4, num_layers=2, bidirectional=True)
    arrays = nn.load_weights(
        nn.save_weights(nn.GRU(3, 4, 2, bidirectional=True, dtype=np.float32, rng=5), tmp_path / "ours.npz")
    )
    back.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    assert np.array_equal(back.weight_hh_l1_reverse.detach().numpy(), arrays["weight_hh_l1_reverse"])


# ---------------------------------------------------------------------- the commands
def command(*words):
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args([str(word) for word in words])
    return int(arguments.run(arguments) or 0)


def test_train_sample_and_eval_from_the_command_line(text, tmp_path, capsys):
    folder = tmp_path / "run"
    small = ["--text", text, "--hidden", 12, "--batch", 4, "--k1", 8, "--eval-every", 10, "--save-every", 10]
    assert command("train", "char", *small, "--steps", 20, "--out", folder) == 0
    shown = capsys.readouterr().out
    assert "rnn.weight_hh_l0" in shown
    assert "step 20: loss" in shown
    assert "bits per character" in shown
    with pytest.raises(tg.InputError, match="--resume"):
        command("train", "char", *small, "--out", folder)
    with pytest.raises(tg.InputError, match=r"hidden 12 \(asked for 16\)"):
        command("train", "char", "--hidden", 16, "--out", folder, "--resume")
    assert command("train", "char", *small, "--steps", 30, "--out", folder, "--resume", "--threads", 1) == 0
    assert "continuing" in capsys.readouterr().out
    assert command("sample", folder, "--length", 30, "--prime", "the ", "--temperature", 0.5) == 0
    written = capsys.readouterr().out
    assert written.startswith("the ")
    assert len(written) == 4 + 30 + 1
    assert command("eval", folder) == 0
    held = capsys.readouterr().out
    assert command("eval", folder, "--text", text) == 0
    assert "bits per character" in held
    assert "bits per character" in capsys.readouterr().out


def test_the_commands_refuse_what_cannot_work(text, tmp_path):
    for words, says in [
        (["train", "char", "--text", tmp_path / "none.txt"], "cannot read"),
        (["train", "char", "--text", text, "--steps", 0], "got steps=0"),
        (["train", "char", "--text", text, "--k1", 8, "--k2", 4], "k2"),
        (["train", "char", "--text", text, "--batch", 500], "too short"),
        (["train", "adding", "--lag", 3], "got lag=3"),
        (["train", "adding", "--dropout", 1.5], "dropout=1.5"),
        (["sample", tmp_path], "no usable checkpoint"),
        (["eval", tmp_path / "none.safetensors"], "there is no checkpoint"),
    ]:
        out = ["--out", tmp_path / "out"] if words[0] == "train" else []
        with pytest.raises(tg.TensorError, match=says):
            command(*words, *out)
        assert not (tmp_path / "out").exists()
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    with pytest.raises(tg.InputError, match="cannot write"):
        command("train", "order", "--steps", 1, "--out", nowhere / "run")


@pytest.mark.parametrize("task", ["adding", "copying", "order", "digits", "pixels", "sunspots"])
def test_every_model_shows_answers_beside_what_is_right(task, tmp_path, capsys):
    if task in SOURCES:
        pytest.importorskip(SOURCES[task])
    trainer = tasks.TaskTrainer(tasks.Settings.of(task, steps=1, hidden=4, eval_every=1), tmp_path / "run")
    trainer.run(quiet, progress=False)
    assert command("sample", tmp_path / "run", "--length", 4) == 0
    names, *rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert names == (["row", "sunspots", "forecast"] if task == "sunspots" else ["sequence", "right", "model"])
    assert len(rows) == 4
    right, said = trainer.task.answers(trainer.model) if task != "sunspots" else ((), ())
    for _, shown, answer in rows if task != "sunspots" else ():
        assert len(shown.split()) == len(answer.split()) == np.size(right[0])
    if task == "adding":
        assert float(rows[2][2]) == pytest.approx(said[2, 0], rel=1e-4)


def test_only_character_models_read_text(tmp_path):
    tasks.TaskTrainer(tasks.Settings.of("order", steps=2, eval_every=2, lag=10), tmp_path / "run").run(
        quiet, progress=False
    )
    with pytest.raises(tg.InputError, match="--text is for character models"):
        command("eval", tmp_path / "run", "--text", __file__)
    assert command("eval", tmp_path / "run") == 0


def test_a_checkpoint_survives_its_own_writing(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "n": np.array(3), "empty": np.zeros((0, 2), np.float32)}
    path = saved.save(tmp_path / "c.safetensors", Checkpoint(arrays, {"step": 1, "state": 2**100}))
    loaded = saved.load(path)
    assert_same(arrays, loaded.arrays)
    assert loaded.record == {"step": 1, "state": 2**100}


@pytest.mark.parametrize(
    ("task", "choices"),
    [
        ("char", {"cell": "gru", "k2": 12, "layers": 2, "dropout": 0.3}),
        ("adding", {"lag": 20}),
        ("char", {"dropout": 0.5}),
        ("char", {"cell": "lstm", "backend": "native"}),
    ],
)
def test_training_with_the_compiled_program_is_the_same_training(task, choices):
    choices = {"hidden": 8, "batch": 3, "k1": 6, "dtype": "float64", "dropout": 0.0, **choices}
    plain = tasks.TaskTrainer(tasks.Settings.of(task, **{**choices, "backend": None}))
    compiled = tasks.TaskTrainer(tasks.Settings.of(task, compile=True, **choices))
    for _ in range(4):
        np.testing.assert_allclose(compiled.advance(), plain.advance(), rtol=1e-9)
    for one, other in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("choices", [{}, {"compile": True}, {"backend": "numpy"}])
def test_a_backend_means_that_the_model_is_compiled(choices):
    trainer = tasks.TaskTrainer(tasks.Settings.of("adding", lag=10, hidden=3, batch=2, **choices))
    assert (trainer.program is not None) == bool(choices)
