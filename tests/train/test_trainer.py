"""Any module, any loss, any data through the one training loop: what is learnt, resumed, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.train.batches import count_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 20, 2))
Y = X[..., :1].cumsum(axis=0)


class Net(tg.nn.Module):
    def __init__(self, hidden: int = 5, dropout: float = 0.0) -> None:
        self.rnn = tg.nn.GRU(2, hidden, 2, dropout=dropout, rng=0)
        self.head = tg.nn.Linear(hidden, 1, rng=1)

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> Any:
        h, state = self.rnn(x, state, lengths=lengths)
        return self.head(h), state


def error(model: Net, x: Any, y: Any) -> tg.Tensor:
    return tg.squared_error(model(x)[0], y)


def quiet(line: str) -> None:
    """Instead of print."""


def trained(data: Any = (X, Y), loss: Any = error, model: Net | None = None, **options: Any) -> Any:
    model = Net() if model is None else model
    options = {"steps": 4, "eval_every": 2, "save_every": 2, **options}
    trainer = tg.train.Trainer(model, loss, data, **options)
    trainer.run(quiet, progress=False)
    return trainer


def assert_same(a: Any, b: Any, rtol: float = 0) -> None:
    for name, array in a.model.state_dict().items():
        np.testing.assert_allclose(array, b.model.state_dict()[name], rtol=rtol, err_msg=name)


# ---------------------------------------------------------------------- data
def test_it_is_the_loop_that_one_would_write() -> None:
    trainer = trained(tg.train.Batches(X, Y, size=20, shuffle=False), clip=0)
    model = Net()
    optimiser = tg.optim.Adam(model.parameters())
    for _ in range(4):
        optimiser.zero_grad()
        error(model, X, Y).backward()
        optimiser.step()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, trainer.model.state_dict()[name])


def test_an_epoch_has_every_sequence_once_and_answers_beside_them() -> None:
    batches = tg.train.Batches(X, Y, size=8, seed=3)
    assert len(batches) == 3
    for epoch in range(2):
        found = [batches(3 * epoch + i) for i in range(3)]
        assert [x.shape[1] for x, _ in found] == [8, 8, 4]
        assert sorted(np.concatenate([x[0, :, 0] for x, _ in found])) == sorted(X[0, :, 0])
        assert all(np.array_equal(y, x[..., :1].cumsum(axis=0)) for x, y in found)
    assert not np.array_equal(batches(0)[0], batches(3)[0])
    x, label = tg.train.Batches(X, X[0, :, 0], size=8)(1)
    assert np.array_equal(label, x[0, :, 0])


def test_the_same_batches_come_from_arrays_lists_iterators_and_functions() -> None:
    batches = tg.train.Batches(X, Y, size=8)
    of_arrays = trained(batches, steps=3)
    for data in (list(batches), (batch for batch in batches), batches.__call__, lambda update: list(batches(update))):
        assert_same(of_arrays, trained(data, steps=3))
    assert trained(iter(list(batches)), steps=9, eval_every=2).run(quiet, progress=False).stopped == "data"
    assert trained([X[:, :4], X[:, 4:]], loss=lambda model, x: tg.squared_error(model(x)[0], x[..., :1])).step == 4


def test_ragged_sequences_are_padded_and_what_is_padded_does_not_count() -> None:
    lengths = [3, 6, 1, 4, 5]
    xs, ys = [X[:n, i] for i, n in enumerate(lengths)], [Y[:n, i] for i, n in enumerate(lengths)]

    def masked(model: Net, x: Any, y: Any, lengths: Any) -> Any:
        inside = np.arange(len(x))[:, None] < lengths
        wrong = tg.squared_error(model(x, lengths=lengths)[0], y, "none")[..., 0]
        return (wrong * inside).sum() / inside.sum()

    batches = tg.train.Batches(xs, ys, size=5, shuffle=False)
    x, y, n = batches(0)
    assert x.shape == (6, 5, 2)
    assert list(n) == lengths
    assert batches.weigh((x, y, n)) == 19
    told = [Net()(one[:, None])[0].data[:, 0] for one in xs]
    alone = [float(((a - b) ** 2).sum()) for a, b in zip(told, ys, strict=True)]
    trainer = trained(batches, masked, validation=tg.train.Batches(xs, ys, size=2), steps=1, eval_every=1)
    assert trainer.history[0]["loss"] == pytest.approx(sum(alone) / 19)
    told = tg.train.predict(trainer.model, xs)
    after = sum(float(((a - b) ** 2).sum()) for a, b in zip(told, ys, strict=True)) / 19
    assert trainer.history[0]["score"] == pytest.approx(after)  # batches of 2 count by their steps
    assert trained((xs, [0.0] * 5), lambda m, x, y, n: (m(x, lengths=n)[0] ** 2).mean()).step == 4


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X, Y[:, :7], r"x has shape \(6, 20, 2\) and y \(6, 7, 1\), .* give a function"),
        (X[:5, :5], Y[:5, :5], "either"),
        (X[0, 0], None, "time first"),
        ([X[:3, 0], X[:0, 0]], None, "without steps"),
        ([X[:3, 0]], [Y[:2, 0]], "differ in their lengths"),
        (X[:3, :2], [Y[:3, 0], Y[:2, 1]], "y is a list of several shapes, expected one array, or, where x is a list"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x: Any, y: Any, says: str) -> None:
    with pytest.raises(tg.TensorError, match=says):
        tg.train.Batches(x, y)


def test_what_is_no_data_no_loss_or_no_number_is_refused(tmp_path: Path) -> None:
    for data in ("text", 3, {"x": X}, None, (X, Y, X), ((X, X), (X, X))):
        with pytest.raises(tg.InputError, match="expected arrays"):
            trained(data)
    for name, value in (("steps", 0), ("clip", -1.0), ("eval_every", 0), ("notes", {"x": {1, 2}}), ("comm", 3)):
        with pytest.raises(tg.InputError, match=name):
            trained(**{name: value})
    with pytest.raises(tg.InputError, match="has no folder"):
        trained().resume()


def test_validation_data_of_another_form_than_the_training_data_is_named() -> None:
    ragged = [X[:3, 0], X[:5, 1]], [Y[:3, 0], Y[:5, 1]]
    with pytest.raises(
        tg.InputError, match="other data gave it 3, so bring training and validation data into one form"
    ):
        trained(ragged, lambda m, x, y, lengths: (m(x)[0] ** 2).mean(), validation=(X, Y), steps=1, eval_every=1)


# ---------------------------------------------------------------------- score, callbacks, predict
def test_the_score_is_the_mean_loss_of_the_validation_data() -> None:
    model = Net(dropout=0.5)
    trainer = trained((X, Y), model=model, validation=(X[:, :9], Y[:, :9]))
    right = float(np.mean((tg.train.predict(model, X[:, :9]) - Y[:, :9]) ** 2))
    assert trainer.history[-1]["score"] == pytest.approx(right)
    pieces = [(X[:, :4], Y[:, :4]), (X[:, 4:9], Y[:, 4:9])]
    assert trained((X, Y), model=Net(dropout=0.5), validation=pieces).history[-1]["score"] == pytest.approx(right)
    by_function = trained(validation=lambda model: 7.0, higher_is_better=True)
    assert by_function.best == 7.0
    for wrong, words in ((np.zeros(3), r"shape \(3,\)"), (None, "gave None"), ("0.5", "'0.5'")):
        with pytest.raises(tg.InputError, match=f"validation.*{words}"):
            trained(validation=lambda model, wrong=wrong: wrong)
    assert trained().history[-1]["score"] == trained().history[-1]["loss"]


def test_callbacks_see_the_trainer_and_may_end_the_run() -> None:
    seen = []
    trainer = trained(steps=9, eval_every=1, callbacks=[lambda t: seen.append(t.step), lambda t: t.step == 3])
    assert seen == [1, 2, 3]
    assert trainer.stopped == "callback"


def test_predict_puts_rows_together_whatever_the_model_returns() -> None:
    model = Net()
    whole = model(X)[0].data
    for rows in (1, 6, 7, 256):
        np.testing.assert_allclose(tg.train.predict(model, X, rows=rows), whole, rtol=1e-12)

    class Last(Net):
        def forward(self, x: Any) -> Any:  # type: ignore[override]
            return super().forward(x)[0][-1]

    for rows in (1, 6, 7, 256):
        np.testing.assert_allclose(tg.train.predict(Last(), X, rows=rows), whole[-1], rtol=1e-12)

    class First(Net):  # answers for another number of steps than it reads
        def forward(self, x: Any) -> Any:  # type: ignore[override]
            return super().forward(x)[0][:5]

    for rows in (1, 5, 6, 7, 10, 256):
        np.testing.assert_allclose(tg.train.predict(First(), X, rows=rows), whole[:5], rtol=1e-12)
    assert [y.shape for y in tg.train.predict(First(), [X[:, 0], X[:4, 1]])] == [(5, 1), (4, 1)]
    ragged = tg.train.predict(Last(), [X[:3, 0], X[:1, 1]])
    assert [y.shape for y in ragged] == [(1,), (1,)]
    assert model.training


def test_predict_tells_sequences_of_one_step_from_answers_of_one_number() -> None:
    class Wide(Net):
        def forward(self, x: Any, per_step: bool = False) -> Any:  # type: ignore[override]
            h = self.rnn(x)[0]  # five numbers
            return h if per_step else h[-1]

    short = [X[:1, 0], X[:1, 1]]
    whole = Wide()(X[:1, :2]).data
    np.testing.assert_allclose(tg.train.predict(Wide(), short), whole, rtol=1e-12)
    np.testing.assert_allclose(tg.train.predict(Wide(), short, per_step=True), whole[:, None], rtol=1e-12)


# ---------------------------------------------------------------------- in pieces
@pytest.mark.parametrize("backend", [None, "numpy"])
def test_a_run_in_pieces_is_the_run_in_one(tmp_path: Path, backend: Any) -> None:
    def trainer(folder: Path | None, steps: int) -> Any:
        def loss(model: Net, x: Any, y: Any, state: Any) -> Any:
            answers, state = model(x, state)
            return tg.squared_error(answers, y), state

        return tg.train.Trainer(
            Net(dropout=0.3),
            loss,
            lambda update: (X + update % 3, Y),
            steps=steps,
            carry=lambda update: update % 3 != 0,
            folder=folder,
            save_every=2,
            eval_every=4,
            backend=backend,
        )

    whole, first, second = trainer(None, 8), trainer(tmp_path / "run", 4), trainer(tmp_path / "run", 8)
    whole.run(quiet, progress=False)
    assert not first.resume()
    first.run(quiet, progress=False)
    assert second.resume()
    assert second.step == 4
    second.run(quiet, progress=False)
    assert_same(whole, second, rtol=0 if backend is None else 1e-12)
    with pytest.raises(tg.InputError, match="got steps=4, expected 8"):
        trainer(tmp_path / "run", 4).resume()


def test_the_score_of_a_resumed_run_counts_the_losses_before_it(tmp_path: Path) -> None:
    def trainer(folder: Path, killed: bool = False) -> Any:
        def loss(model: Net, x: Any, y: Any) -> tg.Tensor:
            if killed and made.step == 6:
                raise MemoryError
            return error(model, x, y)

        made = tg.train.Trainer(Net(), loss, (X, Y), steps=8, folder=folder, save_every=3, eval_every=4)
        made.resume()
        return made

    whole, again = trainer(tmp_path / "whole"), tmp_path / "killed"
    whole.run(quiet, progress=False)
    with pytest.raises(MemoryError):
        trainer(again, killed=True).run(quiet, progress=False)
    trainer(again).run(quiet, progress=False)
    logs = [tg.train.read_log(folder / "log.jsonl") for folder in (tmp_path / "whole", again)]
    assert [r["loss"] for r in logs[0]] == [r["loss"] for r in logs[1]]
    assert trainer(again).best == whole.best


def test_an_iterator_is_forwarded_to_where_the_run_stopped(tmp_path: Path) -> None:
    batches = [(X[:, i : i + 4], Y[:, i : i + 4]) for i in range(8)]
    trained(iter(batches), folder=tmp_path / "run", steps=4)
    again = tg.train.Trainer(Net(), error, iter(batches), folder=tmp_path / "run", steps=8)
    assert again.resume()
    again.run(quiet, progress=False)
    assert_same(again, trained(iter(batches), steps=8))


def test_another_model_or_note_does_not_continue(tmp_path: Path) -> None:
    trained(folder=tmp_path / "run", notes={"hidden": 5})
    for options, says in (
        ({"notes": {"hidden": 6}}, "record.hidden: got 5, expected 6"),
        ({}, "record.hidden is unknown here"),
        ({"notes": {"hidden": 5}, "model": Net(6)}, "expected the shape"),
    ):
        model = options.pop("model", Net())
        with pytest.raises(tg.InputError, match=says):
            tg.train.Trainer(model, error, (X, Y), folder=tmp_path / "run", **options).resume()  # type: ignore[arg-type]
    with pytest.raises(tg.InputError, match="has gone further"):
        trained(folder=tmp_path / "run", notes={"hidden": 5})


def test_the_best_weights_come_back(tmp_path: Path) -> None:
    scores = iter([2.0, 1.0, 3.0])
    kept: list[Any] = []
    trainer = trained(
        steps=3,
        eval_every=1,
        folder=tmp_path / "run",
        validation=lambda model: next(scores),
        callbacks=[lambda t: kept.append(t.model.state_dict())],
    )
    trainer.load_best()
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, kept[1][name])


def test_a_run_that_is_interrupted_tells_how_far_it_came() -> None:
    def interrupting(model: Net, x: Any, y: Any) -> tg.Tensor:
        if trainer.step == 3:
            raise KeyboardInterrupt
        return error(model, x, y)

    trainer = tg.train.Trainer(Net(), interrupting, (X, Y), steps=4)
    assert trainer.run(quiet, progress=False)[::3] == (3, "interrupted")


def test_what_a_batch_counts() -> None:
    """Its sequences, also where the answers are one for each."""
    assert count_of((X, Y[-1]), (1, 0)) == count_of((3, Y[-1]), (None, 0)) == 20
    assert count_of((X[0, 0],), (1,)) == 1
    data = tg.train.Batches(X, np.arange(20), size=8)
    assert [data.weigh(batch) for batch in data] == [8, 8, 4]


def test_it_is_watched(tmp_path: Path) -> None:
    trainer = tg.train.Trainer(Net(), error, (X, Y), steps=4, folder=tmp_path / "run")
    trainer.run(quiet, progress=False, watch=2)
    assert len((tmp_path / "run" / "watch.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "run" / "watch.svg").exists()


def test_what_stops_learning_without_a_word_is_said() -> None:
    with pytest.raises(tg.InputError, match="adjusts none of this model's parameters"):
        trained(optimizer=tg.optim.Adam(Net().parameters()))
    with pytest.raises(tg.DTypeError, match="returned float, expected a scalar Tensor"):
        trained(loss=lambda model, x, y: error(model, x, y).item())
    broken = X.copy()
    broken[2, 3, 1] = np.nan
    with pytest.raises(tg.InputError, match=r"array 0 of the batch of update 0 holds nan at \(2, 3, 1\)"):
        trained(tg.train.Batches(broken, Y, size=20, shuffle=False))


@pytest.mark.parametrize("backend", [None, "numpy"])
def test_a_loss_that_does_not_take_what_a_batch_has_is_told_what_that_is(backend: Any) -> None:
    ragged = [X[:4, 0], X[:, 1]], [Y[:4, 0], Y[:, 1]]
    with pytest.raises(
        tg.InputError, match=r"called with the model and 3 more .* \(x, y, lengths\) for a tuple of lists"
    ):
        trained(ragged, backend=backend)
    with pytest.raises(tg.InputError, match="called with the model and 1 more"):
        trained(validation=X, backend=backend)
    with pytest.raises(tg.InputError, match=r"loss=squared_error.* lambda model, x, y: squared_error\(model\(x\), y\)"):
        tg.train.Trainer(tg.nn.Linear(2, 1), tg.squared_error, (X, Y)).run()


@pytest.mark.parametrize("backend", [None, "numpy"])
def test_a_loss_that_returns_no_state_where_one_is_carried_is_told_so(backend: Any) -> None:
    def forgets(model: Any, x: Any, y: Any, state: Any) -> Any:
        return tg.squared_error(model(x), y)

    trainer = tg.train.Trainer(tg.nn.Linear(2, 1), forgets, [(X, Y)], carry=lambda update: True, backend=backend)
    with pytest.raises(tg.DTypeError, match=r"expected \(loss, state\), as there is `carry`"):
        trainer.run()


def test_when_the_data_end_what_was_learned_since_the_last_look_is_scored_and_kept(tmp_path: Path) -> None:
    whole = trained([(X, Y)], steps=5, eval_every=5, validation=(X, Y))
    ended = trained(((X, Y) for _ in range(5)), steps=20, eval_every=100, validation=(X, Y), folder=tmp_path)
    assert (ended.step, ended.stopped, len(ended.history)) == (5, "data", 1)
    assert ended.best == whole.best
    ended.load_best()
    assert_same(ended, whole)


def test_a_model_trains_on_after_an_evaluation_that_failed() -> None:
    def loss(model: Any, x: Any, y: Any) -> Any:
        return error(model, x, y) * (1 // model.training)

    model = Net()
    with pytest.raises(ZeroDivisionError):
        tg.train.Trainer(model, loss, (X, Y), validation=(X, Y), steps=1).run(quiet, progress=False)
    assert model.training
    assert model.rnn.training


def test_tensors_that_are_not_of_the_model_are_not_adjusted_beside_it() -> None:
    """Their gradients were added up from update to update, and no checkpoint held them."""
    model, scale = Net(), tg.Tensor(1.0, requires_grad=True)
    with pytest.raises(tg.InputError, match="not of this model, 1 of 11; make them attributes of the model"):
        trained(model=model, optimizer=tg.optim.SGD([*model.parameters(), scale]))


def test_sequences_along_the_first_axis_are_what_a_mean_counts() -> None:
    """The score weighed batches by their steps, not by their sequences."""

    def first(model: Net, x: Any, y: Any) -> tg.Tensor:
        return tg.squared_error(model(x.transpose(1, 0, 2))[0][-1], y)

    x, y = X.transpose(1, 0, 2), Y[-1]
    trainer = trained([(x, y)], first, validation=[(x[:1], y[:1]), (x[1:], y[1:])], axes=(0, 0))
    assert trainer.history[-1]["score"] == pytest.approx(first(trainer.model, x, y).item(), rel=1e-12)


@pytest.mark.parametrize("axes", [(2, 0), (-1, 0), (None, None)])
def test_axes_along_which_no_sequences_can_lie_are_refused(axes: Any) -> None:
    with pytest.raises(tg.InputError, match="expected 0, 1 or None for each array"):
        trained(axes=axes)


@pytest.mark.parametrize("x", [X[:, :0], X[0, 0]])
def test_predict_says_what_it_takes(x: Any) -> None:
    with pytest.raises(tg.ShapeError, match=r"predict: x has shape \(.*expected \(T, N, ...\)"):
        tg.train.predict(Net(), x)
