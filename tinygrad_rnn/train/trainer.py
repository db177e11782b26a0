"""The training loop: forward, backward, clip, adjust; evaluate, log, save; continue where it stopped."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from threadpoolctl import threadpool_limits

from .. import __version__, compiler
from ..core.arguments import Count, Finite, NotNegative, Positive, checked
from ..core.backprop import no_grad
from ..core.tensor import Tensor, raw
from ..errors import DTypeError, InputError
from ..escape import short, xml
from ..files import as_path, make_folder, only_one
from ..nn import Module
from ..nn.truncation import truncate
from ..optim import Adam, Optimizer, Schedule, clip_grad_norm_, clip_grad_value_, constant
from . import saved as checkpoint
from .batches import (
    Batch,
    NoMoreBatches,
    as_batch,
    batch_axes,
    check_takes,
    count_of,
    evaluating,
    finite,
    rows_of,
    source,
)
from .log import Log
from .progress import tqdm
from .ranks import Ranks
from .saved import BEST, Checkpoint, under
from .schema import WrongError, check_record, check_run, expect
from .watched import SEQUENCES, Watched


def _say(line: str) -> None:
    """Print at once, also into a file that someone is watching."""
    print(line, flush=True)


def _in_words(score: float) -> str:
    return f"validation loss {score:.4f}"


class Result(NamedTuple):
    """How a run ended.

    `stopped` says why: "done", "early" (no better score for `patience` evaluations), "target" (as good as `stop_at`),
    "callback", "data" (there are no more batches) or "interrupted".
    """

    step: int
    score: float
    best: float
    stopped: str

    def _repr_html_(self) -> str:
        words = f"{self.stopped} after {self.step} updates: score {self.score:.4g}, best {self.best:.4g}"
        return f'<div style="max-width:900px">{xml(words)}</div>'


class Trainer:
    """One training run of any model on any data.

        trainer = tg.train.Trainer(model, loss, (x, y), steps=500, validation=(x_new, y_new))
        trainer.run()
        answers = tg.train.predict(model, x_new)

    With a `folder` it keeps checkpoints, a log and the best weights there, and `resume()` continues to the bit,
    or with a `backend` within rounding.

    Args:
        model: any module.
        loss: `loss(model, *batch)`, a scalar tensor: the mean over the batch. As for `tg.compile`.
        data: arrays (x, y), time first, or lists of arrays if ragged, for `Batches` of 32 sequences; `Batches`; an
            iterable of batches; or a function from the number of an update to its batch. A batch is a tuple.
        steps: the number of updates.
        optimizer: of the model's parameters; Adam with a learning rate of 1e-3 by default.
        schedule: from the number of an update to a factor for the learning rate.
        clip, clip_value: largest norm of the gradient, and largest entry; 0 for no clipping.
        validation: data as above, whose mean loss is the score; or a function from the model to a score. Without it,
            the score is the mean loss of the updates since the last evaluation.
        higher_is_better: whether a larger score is better.
        words: the score in words, for the lines that are printed.
        patience: stop after so many evaluations without a better score, 0 for never.
        stop_at: stop when the score is this good.
        eval_every, save_every: updates between evaluations, and between checkpoints.
        callbacks: each is called with the trainer after every evaluation (see `history`), of several ranks on rank 0;
            if one returns True, the run ends.
        folder: where checkpoints, the log and the best weights go; None keeps nothing.
        notes: plain values that a checkpoint remembers, and without which it is not continued: sizes, names of files.
        carry: for truncated BPTT over long sequences: from the number of an update, whether it begins with the state
            that the one before ended with. Then it is `loss(model, *batch, state)`, where a state of None is the first,
            and it returns (loss, state); the state is a tensor or a tuple of them, batch axis second to last.
        axes: along which axis the sequences of each array of a batch lie (None: in none), where shapes do not tell.
        weigh: what the mean loss of a batch counts beside those of others: its number of sequences, unless given here.
        backend: train with the compiled program of the loss, as `tg.compile` makes it, on "auto", "numpy" or "native";
            results differ by rounding only. None: operation by operation.
        comm: an mpi4py communicator: every rank makes the same trainer, and takes its part of each batch.

    Attributes:
        step: the number of updates made.
        best: the best score so far.
        history: a record of each evaluation of this process, as in the log.
    """

    @checked
    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any],
        data: Any,
        *,
        steps: Positive = 1000,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        clip: NotNegative = 1.0,
        clip_value: NotNegative = 0.0,
        validation: Any = None,
        higher_is_better: bool = False,
        words: Callable[[float], str] = _in_words,
        patience: Count = 0,
        stop_at: Finite | None = None,
        eval_every: Positive = 100,
        save_every: Positive = 100,
        callbacks: Iterable[Callable[[Trainer], Any]] = (),
        folder: str | Path | None = None,
        notes: Mapping[str, Any] | None = None,
        carry: Callable[[int], bool] | None = None,
        axes: Sequence[int | None] | None = None,
        weigh: Callable[[Batch], float] | None = None,
        backend: Literal["auto", "numpy", "native"] | None = None,
        comm: Any = None,
    ) -> None:
        self.model, self.loss, self.data = model, loss, source(data)
        self.steps = steps
        self.optimizer = Adam(model.parameters()) if optimizer is None else optimizer
        own = set(map(id, model.parameters()))
        strange = sum(id(parameter) not in own for parameter in self.optimizer.parameters)
        if strange == len(self.optimizer.parameters):
            raise InputError(
                "Trainer: the optimiser adjusts none of this model's parameters, so that nothing would be learned; "
                "make it with model.parameters() of this very model"
            )
        if strange:  # their gradients would not be reset, compiled or sent to other ranks, nor they be saved
            raise InputError(
                f"Trainer: the optimiser adjusts tensors that are not of this model, {strange} of "
                f"{len(self.optimizer.parameters)}; make them attributes of the model, or of a Module that holds both"
            )
        self.lr = self.optimizer.lr
        self.schedule = constant() if schedule is None else schedule
        self.clip, self.clip_value = clip, clip_value
        self.validation = finite(validation)
        self.score_of = validation if self.validation is None else self._mean_loss
        self.higher_is_better, self.words = higher_is_better, words
        self.patience, self.stop_at = patience, stop_at
        self.eval_every, self.save_every = eval_every, save_every
        self.callbacks = list(callbacks)
        self.folder = None if folder is None else as_path(folder, "Trainer")
        self.log: Log | None = None
        self.notes = _plain(notes)
        if axes is not None and (not set(axes) <= {0, 1, None} or set(axes) <= {None}):
            raise InputError(f"Trainer: got axes={axes}, expected 0, 1 or None for each array, and not None for all")
        self.carry, self.axes, self.weigh = carry, axes, weigh
        self.program = None if backend is None else compiler.compile(loss, backend)
        self.ranks = Ranks(comm)
        self.history: list[dict[str, Any]] = []
        self.state: Any = None
        self.step = 0
        self.best = -math.inf if higher_is_better else math.inf
        self.waited = 0
        """Evaluations since the best one."""
        self.evaluated, self.losses = 0, 0.0
        """The step of the last evaluation, and the sum of the losses of the updates since."""
        self.stopped = "done"
        """Why it ended, if it did so before its last step."""
        self.refused: list[str] = []
        """What was wrong with newer checkpoints that were not used."""
        self._taken: set[int] = set()
        """With how many arguments after the model the loss function is known to be callable."""
        self._newest = -1
        """The step of the newest checkpoint that this run wrote or began with."""

    # ------------------------------------------------------------------ saving and continuing
    def resume(self) -> bool:
        """Continue from the newest checkpoint in the folder that is whole and fits; False where there is none.

        A run that had stopped because its score was good, or no longer improved, stays stopped.

        Raises:
            InputError: there are only damaged ones, or they are of another model, optimiser, version or other notes.
        """
        if self.folder is None:
            raise InputError("resume: this trainer has no folder; give it the one where its checkpoints are")
        if not checkpoint.newer(self.folder, -1):
            return False
        found, self.refused = checkpoint.load_newest(self.folder, self._check)
        self.restore(found)
        return True

    def _check(self, path: Path, found: Checkpoint) -> None:
        """Whether a checkpoint fits this trainer."""
        try:
            check_record(found.record, {name: type(value) for name, value in self.notes.items()})
            for name, value in self.notes.items():
                expect(found.record[name] == value, f"record.{name}", found.record[name], f"{value!r:.80}, as here")
            ends = ("done", "early", "target", "callback", "data")
            carried = {name: array for name, array in found.arrays.items() if name.startswith("carried.")}
            check_run(found, self.higher_is_better, ends, self.model, self.optimizer, carried)
        except WrongError as error:
            raise InputError(f"checkpoint {path}: {error}; {checkpoint.others(path)}") from error

    def restore(self, found: Checkpoint) -> None:
        """Go on from a checkpoint that is known to fit.

        Raises:
            InputError: another version wrote it, or it has gone further than `steps`.
        """
        record = found.record
        if record["version"] != __version__:
            raise InputError(
                f"{self.folder} was written by version {record['version']:.40} and this is {__version__}; continue it "
                "with that version, or begin another run"
            )
        if self.steps < record["step"]:
            raise InputError(
                f"{self.folder}: got steps={self.steps}, expected {record['step']}, the updates made, or more"
            )
        self.model.load_state_dict(under("model.", found.arrays))
        self.optimizer.load_state_dict(under("optimizer.", found.arrays))
        carried = [array for _, array in sorted(under("carried.", found.arrays).items())]
        carried = [array[..., self.ranks.part(array.shape[-2]), :] for array in carried]
        self.state = None if not carried else tuple(carried) if len(carried) > 1 else carried[0]
        for generator, state in zip(self.model.generators(), record["generators"], strict=True):
            generator.bit_generator.state = state
        self.step, self.best = record["step"], record["best"]
        self.waited, self.stopped = record["waited"], record["stopped"]
        self.evaluated, self.losses = record["evaluated"], record["losses"]
        if self.stopped in ("callback", "data"):
            self.stopped = "done"
        self._newest = self.step

    def _snapshot(self) -> Checkpoint:
        """All that the next update depends on."""
        arrays = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        arrays |= {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}
        if self.carry is not None:
            carried = self.state if isinstance(self.state, tuple) else () if self.state is None else (self.state,)
            parts = [raw(tensor) for tensor in carried]
            joined = self.ranks.joined(parts, axis=-2) if self.step else parts
            arrays |= {f"carried.{i}": array for i, array in enumerate(joined)}
        record = {
            **self.notes,
            "step": self.step,
            "best": self.best,
            "waited": self.waited,
            "evaluated": self.evaluated,
            "losses": self.losses,
            "stopped": self.stopped,
            "generators": [generator.bit_generator.state for generator in self.model.generators()],
            "version": __version__,
        }
        return Checkpoint(arrays, record)

    def save(self) -> None:
        """Write a checkpoint of this moment; the one before it stays."""
        if self.folder is not None:
            snapshot = self._snapshot()
            if self.ranks.rank == 0:
                checkpoint.save_step(self.folder, self.step, snapshot)
            self._newest = self.step
            self._spread_generators()

    def load_best(self) -> None:
        """Put the weights of the best score into the model.

        Raises:
            InputError: there is no folder, or no evaluation yet.
        """
        if self.folder is None:
            raise InputError("load_best: this trainer has no folder, where the best weights would be; give it one")
        found = checkpoint.load(self.folder / BEST)
        self._check(self.folder / BEST, found)
        self.model.load_state_dict(under("model.", found.arrays))

    # ------------------------------------------------------------------ one step, and all of them
    def advance(self) -> tuple[float, float, int]:
        """One update: the loss, the norm of its gradient before clipping, and how many steps were read."""
        batch = as_batch(self.data(self.step))
        loss = self._differentiate(batch)
        if not math.isfinite(loss):
            _check_finite(batch, self.step)
        parameters = self.optimizer.parameters
        if self.clip_value:
            clip_grad_value_(parameters, self.clip_value)
        norm = clip_grad_norm_(parameters, self.clip or math.inf)
        self.optimizer.lr = self.lr * self.schedule(self.step)
        self.optimizer.step()
        self.step += 1
        return loss, norm, math.prod(np.shape(batch[0])[:2])

    def _differentiate(self, batch: Batch) -> float:
        """The loss; every parameter gets its gradient, both of all ranks' parts together."""
        state = () if self.carry is None else (self.state if self.carry(self.step) else None,)
        if self.ranks.size == 1:
            return self._gradients((*batch, *state))
        axes = self._axes(batch)
        rows = self.ranks.part(count_of(batch, axes))
        mine = rows_of(batch, axes, rows)
        loss, share = None, 0.0
        if rows.stop > rows.start:
            weigh = self._weigh(self.data)
            loss, share = self._gradients((*mine, *state)), weigh(mine) / weigh(batch)
        return self._added(loss, share)

    def _check_takes(self, count: int) -> None:
        """Whether the loss function takes so many arguments after the model; asked once, as it takes long.

        Raises:
            InputError: it does not.
        """
        if count not in self._taken:
            check_takes(self.loss, count, before=self._taken)
            self._taken.add(count)

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        self._check_takes(len(arguments))
        return self.loss(self.model, *arguments)

    def _gradients(self, arguments: tuple[Any, ...]) -> float:
        """The loss of these arguments; sets gradients and the state to carry on."""
        if self.program is None:
            self.model.zero_grad()
            loss, carried = self._parts_of(self._call(arguments))
            if not isinstance(loss, Tensor):
                raise DTypeError(
                    f"Trainer: the loss function returned {type(loss).__name__}, expected a scalar Tensor; compute it "
                    "from the model's answers without float(), .item() or .data"
                )
            loss.backward()
            self.state = truncate(carried)
            return loss.item()
        self._check_takes(len(arguments))
        found, gradients = self.program(self.model, *arguments)
        loss, carried = self._parts_of(found)
        for name, parameter in self.model.named_parameters():
            parameter.grad = gradients[name]
        self.state = carried
        return float(loss)

    def _parts_of(self, found: Any) -> tuple[Any, Any]:
        """The loss and the state, if one is carried, of what the loss function returned."""
        if self.carry is None:
            return found, None
        if not (isinstance(found, tuple) and len(found) == 2):
            raise DTypeError(
                f"Trainer: the loss function returned {type(found).__name__}, expected (loss, state), as there is "
                "`carry`"
            )
        return found

    def _added(self, loss: float | None, share: float) -> float:
        """The loss of all ranks, and their gradients in the parameters: one message, a flat buffer.

        Args:
            loss: of this rank's part; None where it has none.
            share: what that part counts in the batch.
        """
        parameters = self.model.parameters()
        ends = np.cumsum([parameter.size for parameter in parameters])
        buffer = np.zeros(ends[-1] + len(parameters) + 1, np.result_type(*(p.dtype for p in parameters)))
        gradients, present = np.split(buffer[: ends[-1]], ends[:-1]), buffer[ends[-1] : -1]
        for i, parameter in enumerate(parameters):
            if loss is not None and parameter.grad is not None:
                np.multiply(parameter.grad.ravel(), share, out=gradients[i])
                present[i] = 1
        buffer[-1] = 0 if loss is None else loss * share
        self.ranks.add(buffer)
        for parameter, gradient, known in zip(parameters, gradients, present, strict=True):
            parameter.grad = gradient.reshape(parameter.shape).astype(parameter.dtype, copy=False) if known else None
        return float(buffer[-1])

    @checked
    def run(
        self, say: Callable[[str], None] = _say, progress: bool | None = None, watch: Count | Literal["auto"] = 0
    ) -> Result:
        """Train to the end, or until the score stops improving.

        Args:
            say: called with a line at every evaluation.
            progress: show a progress bar; None: only on a terminal.
            watch: look at the model's memory every so many updates (0: never; "auto": so seldom that it takes less
                than 5 % of the time): rows in `watch.jsonl`, a picture `watch.svg`, and a line for what has become
                worse. The run itself is the same to the bit.

        Raises:
            InputError: the folder cannot be written to, holds another run or is in use by one; what was saved before
                stays whole.
        """
        leads = self.ranks.rank == 0
        share = self.ranks.threads()  # where there is none, nothing is set back: other threads may have lowered it now
        with self.ranks.together(), nullcontext() if share is None else threadpool_limits(share):
            if leads and self.folder is not None:  # before the first step, so that a bad place is found out at once
                make_folder(self.folder)
            with only_one(self.folder) if self.folder is not None and leads else nullcontext():
                if leads:
                    self._open()
                self._agree()
                watched = Watched(watch, self.folder, self.step) if watch and leads else None
                return self._run(self.ranks.only_first(say), progress if leads else False, watched)

    def _run(self, say: Callable[[str], None], progress: bool | None, watched: Watched | None) -> Result:
        score = math.nan
        bar = tqdm(total=self.steps, initial=self.step, unit="step", disable=None if progress is None else not progress)
        norm = rate = math.nan
        time_steps, began = 0, time.perf_counter()
        try:
            while self.step < self.steps and self.stopped == "done":
                try:
                    if watched is not None and watched.due(self.step):
                        line = watched.note(self._some_loss, self.step)
                        with tqdm.external_write_mode():
                            say(line)
                    loss, norm, read = self.advance()
                except NoMoreBatches:
                    if self.step > self.evaluated and not math.isnan(norm):
                        score = self._evaluate(norm, rate)
                        say(self._line())
                    self.stopped = "data"
                    self.save()
                    break
                time_steps, self.losses = time_steps + read, self.losses + loss
                rate = time_steps / (time.perf_counter() - began)
                bar.set_postfix_str(f"loss {loss:.4f}, |grad| {norm:.2f}, {rate:,.0f} time steps/s", refresh=False)
                bar.update()
                last = self.step == self.steps
                if self.step % self.eval_every == 0 or last:
                    score = self._evaluate(norm, rate)
                    with tqdm.external_write_mode():
                        say(self._line())
                    time_steps, began = 0, time.perf_counter()
                if self.step % self.save_every == 0 or last or self.stopped != "done":
                    self.save()
        except KeyboardInterrupt:
            if self.ranks.size > 1:
                raise
            return Result(self.step, score, self.best, "interrupted")
        finally:
            bar.close()
            if watched is not None:
                watched.draw()
                if (cost := watched.cost()) is not None:
                    say(cost)
        if math.isnan(score) and self.score_of is not None:
            score = self.ranks.first(self._score() if self.ranks.rank == 0 else None)
        return Result(self.step, score, self.best, self.stopped)

    def _open(self) -> None:
        """Make sure that the folder holds this run or none, and begin its log."""
        if self.folder is None:
            return
        newer = checkpoint.newer(self.folder, self._newest)
        if len(newer) > len(self.refused):
            raise InputError(
                f"{self.folder} holds a run that has gone further, to {newer[0].name}; continue that one with --resume "
                "(Trainer.resume), or choose another folder"
            )
        if self.log is not None:
            return
        for pattern in (".*.safetensors.*", ".log.*.*"):  # what a kill left of a temporary file
            for half_written in self.folder.glob(pattern):
                half_written.unlink(missing_ok=True)
        self.log = Log(self.folder, upto=self.step)
        if self.step == 0:
            checkpoint.save_step(self.folder, 0, self._snapshot())
            self._newest = 0

    def _agree(self) -> None:
        """All ranks have the same settings, begin with the weights of rank 0 and read the same data."""
        if self.ranks.size > 1:
            numbers = ("steps", "step", "eval_every", "save_every", "patience", "stop_at")
            beside = {"validation": self.score_of, "a folder": self.folder, "carry": self.carry}
            settings = {name: getattr(self, name) for name in numbers}
            settings |= {f"{name} given": value is not None for name, value in beside.items()}
            self.ranks.check_agreed({**settings, "callbacks given": bool(self.callbacks)})
            self.model.load_state_dict(self.ranks.first(self.model.state_dict()))
            if self.step < self.steps:
                self.ranks.check_same(as_batch(self.data(self.step)))
            self._spread_generators()

    def _spread_generators(self) -> None:
        """Every rank draws its own dropout: as far ahead of rank 0's generators as a generator can jump."""
        if self.ranks.size > 1:
            own = self.model.generators()
            states = self.ranks.first([generator.bit_generator.state for generator in own])
            for generator, state in zip(own, states, strict=True):
                if self.ranks.rank:
                    generator.bit_generator.state = state
                    generator.bit_generator.state = cast(Any, generator.bit_generator).jumped(self.ranks.rank).state

    # ------------------------------------------------------------------ evaluation
    def _evaluate(self, norm: float, rate: float) -> float:
        """Score the model, keep it if it is the best so far, and put a record into history and log."""
        loss = self.losses / (self.step - self.evaluated)
        self.evaluated, self.losses = self.step, 0.0
        own = loss if self.score_of is None else self._score() if self.ranks.rank == 0 else None
        score = float(self.ranks.first(own))
        self._judge(score)
        self.history.append(
            {
                "step": self.step,
                "loss": loss,
                "gradient_norm": norm,
                "score": score,
                "learning_rate": self.optimizer.lr,
                "time_steps_per_second": round(rate),
            }
        )
        if self.log is not None:
            self.log.write(self.history[-1])
        if self.callbacks:
            answers = [callback(self) for callback in self.callbacks] if self.ranks.rank == 0 else []
            if self.ranks.first(True in answers) and self.stopped == "done":
                self.stopped = "callback"
        return score

    def _score(self) -> float:
        """What the validation says of the model.

        Raises:
            InputError: it is not one number.
        """
        given = self.score_of(self.model)
        score = np.asarray(raw(given))
        if score.size != 1 or score.dtype.kind not in "biuf":
            what = f"an array of shape {score.shape}" if score.ndim else short(given)
            raise InputError(f"Trainer: validation(model) gave {what}, expected one number, such as a mean")
        return float(score.item())

    def _line(self) -> str:
        """The last record in words."""
        last = self.history[-1]
        score = "" if self.score_of is None else f"{self.words(last['score'])}, "
        return f"step {last['step']}: loss {last['loss']:.4f}, {score}{last['time_steps_per_second']:,} time steps/s"

    def _judge(self, score: float) -> None:
        """Keep the weights if they are the best so far, and see whether to stop here."""
        sign = 1 if self.higher_is_better else -1
        better = sign * score > sign * self.best
        self.best, self.waited = (score, 0) if better else (self.best, self.waited + 1)
        if self.stop_at is not None and sign * score >= sign * self.stop_at:
            self.stopped = "target"
        elif self.patience and self.waited >= self.patience:
            self.stopped = "early"
        if better and self.folder is not None:
            snapshot = self._snapshot()
            if self.ranks.rank == 0:
                checkpoint.save(self.folder / BEST, snapshot)

    def _mean_loss(self, model: Module) -> float:
        """The mean loss of the validation data, without dropout."""
        total = count = 0.0
        with evaluating(model), no_grad():
            for batch in self.validation or ():
                weight = self._weigh(self.validation)(batch)
                total, count = total + weight * self._plain_loss(batch).item(), count + weight
        return total / count

    def _plain_loss(self, batch: Batch) -> Tensor:
        """The loss of a batch that begins with the first state."""
        return self._call(batch) if self.carry is None else self._call((*batch, None))[0]

    def _some_loss(self) -> Tensor:
        """The loss of some sequences of the next batch, without dropout: to be looked at."""
        batch = as_batch(self.data(self.step))
        with evaluating(self.model):
            return self._plain_loss(rows_of(batch, self._axes(batch), slice(SEQUENCES)))

    def _axes(self, batch: Batch) -> Sequence[int | None]:
        axes = self.axes or getattr(self.data, "axes", None) or batch_axes(batch, "Trainer")
        if len(axes) != len(batch):
            raise InputError(f"Trainer: got axes={axes} and a batch of {len(batch)} arrays, expected one for each")
        return axes

    def _weigh(self, data: Any) -> Callable[[Batch], float]:
        return self.weigh or getattr(data, "weigh", None) or partial(count_of, axes=self.axes or (1,))


def _check_finite(batch: Batch, update: int) -> None:
    """Where the loss is NaN or infinite: whether the data are.

    Raises:
        InputError: they are.
    """
    for part, array in enumerate(map(np.asarray, map(raw, batch))):
        if array.dtype.kind in "fc" and not (right := np.isfinite(array)).all():
            at = tuple(map(int, np.argwhere(~right)[0]))
            raise InputError(
                f"Trainer: array {part} of the batch of update {update} holds {array[at]} at {at}; fill in such "
                "numbers, or leave their sequences out"
            )


def _plain(notes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Notes as they are read again.

    Raises:
        InputError: they are no plain values.
    """
    try:
        return json.loads(json.dumps(dict(notes or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"notes: {error}; expected numbers, text, and lists and dicts of them by name") from error


__all__ = ["BEST", "Result", "Trainer"]
