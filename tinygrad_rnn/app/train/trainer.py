"""The training loop: forward, backward, clip, adjust; evaluate, log, save; continue where it stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

from ... import __version__, compiler
from ...core.arguments import checked
from ...core.tensor import Tensor, raw
from ...errors import InputError
from ...escape import xml
from ...files import as_path, only_one
from ...nn.truncation import truncate
from ...optim import clip_grad_norm_, clip_grad_value_
from ..progress import tqdm
from . import saved as checkpoint
from .log import Log
from .saved import BEST, Checkpoint, under
from .schema import check
from .settings import Settings
from .watched import Watched


def _say(line: str) -> None:
    """Print at once, also into a file that someone is watching."""
    print(line, flush=True)


class Result(NamedTuple):
    """How a run ended."""

    step: int
    score: float
    best: float
    stopped: str
    """Why: "done", "early" (no better score for `patience` evaluations), "target" or "interrupted"."""

    def _repr_html_(self) -> str:
        words = f"{self.stopped} after {self.step} updates: score {self.score:.4g}, best {self.best:.4g}"
        return f'<div style="max-width:900px">{xml(words)}</div>'


class Trainer:
    """One training run.

        trainer = Trainer(Settings.of("adding", cell="lstm"), folder="runs/adding")
        result = trainer.run()
        ...
        Trainer.resume("runs/adding").run()   # continues bit for bit, wherever it was killed

    Args:
        settings: what to train and how.
        folder: where checkpoints, the log and the best weights go; None keeps nothing.

    Attributes:
        model, task, optimizer: what the settings stand for.
        step: the number of updates made.
        best: the best score so far.
        history: a record of each evaluation of this process, as in the log.
    """

    @checked
    def __init__(self, settings: Settings, folder: str | Path | None = None) -> None:
        self.settings = settings
        self.task = settings.build_task()
        self.model = settings.build_model(self.task.inputs, self.task.outputs, self.task.classes_in)
        self.optimizer = settings.build_optimizer(self.model)
        self.program = compiler.compile(self.task.objective, cast(Any, settings.backend))
        self.schedule = settings.build_schedule()
        self.folder = None if folder is None else as_path(folder, "Trainer")
        self.log: Log | None = None
        self.history: list[dict[str, Any]] = []
        self.state: Any = None
        self.step = 0
        self.best = -math.inf if self.task.higher_is_better else math.inf
        self.waited = 0
        """Evaluations since the best one."""
        self.stopped = "done"
        """Why it ended, if it did so before its last step."""
        self.refused: list[str] = []
        """What was wrong with newer checkpoints that were not used."""
        self._newest = -1
        """The step of the newest checkpoint that this run wrote or began with."""

    # ------------------------------------------------------------------ saving and continuing
    @classmethod
    def resume(cls, folder: str | Path, steps: int | None = None) -> Trainer:
        """The run in `folder` as its newest checkpoint left it that is whole and fits its own settings.

        The text of a character model is read again, from the path that the run was begun with; if it is another
        text, the run is refused. So resume only runs whose settings you know.

        Args:
            folder: as given to the run that wrote it.
            steps: another total number of updates.

        Raises:
            InputError: there is no usable checkpoint, the data is not what it was, another version of this package
                wrote it, which may round differently, or the run has made more than `steps` updates already.
        """
        saved, refused = checkpoint.load_newest(as_path(folder, "resume"), check)
        settings = Settings.from_dict(saved.record["settings"])
        if saved.record["version"] != __version__:
            raise InputError(
                f"{folder} was written by version {saved.record['version']:.40} and this is {__version__}; continue it "
                "with that version, or begin another run"
            )
        if steps is not None and steps < saved.record["step"]:
            raise InputError(f"{folder}: got steps={steps}, expected {saved.record['step']}, the updates made, or more")
        trainer = cls(settings if steps is None else settings.with_steps(steps), folder)
        trainer._restore(saved)
        trainer.refused = refused
        if steps is not None:
            trainer.stopped = "done"  # asked to go on
        return trainer

    def _snapshot(self) -> Checkpoint:
        """All that the next update depends on."""
        arrays = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        arrays |= {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}
        carried = self.state if isinstance(self.state, tuple) else () if self.state is None else (self.state,)
        arrays |= {f"carried.{i}": raw(tensor) for i, tensor in enumerate(carried)}
        record = {
            "settings": self.settings.as_dict(),
            "step": self.step,
            "best": self.best,
            "waited": self.waited,
            "stopped": self.stopped,
            "generators": [generator.bit_generator.state for generator in self.model.generators()],
            "task": self.task.record(),
            "version": __version__,
        }
        return Checkpoint(arrays, record)

    def _restore(self, saved: Checkpoint) -> None:
        record = saved.record
        self.task.check_record(record["task"], self.settings.text)
        self.model.load_state_dict(under("model.", saved.arrays))
        self.optimizer.load_state_dict(under("optimizer.", saved.arrays))
        carried = [array for _, array in sorted(under("carried.", saved.arrays).items())]
        self.state = None if not carried else tuple(carried) if len(carried) > 1 else carried[0]
        for generator, state in zip(self.model.generators(), record["generators"], strict=True):
            generator.bit_generator.state = state
        self.step, self.best = record["step"], record["best"]
        self.waited, self.stopped = record["waited"], record["stopped"]
        self._newest = self.step

    def save(self) -> None:
        """Write a checkpoint of this moment; the one before it stays."""
        if self.folder is not None:
            checkpoint.save_step(self.folder, self.step, self._snapshot())
            self._newest = self.step

    # ------------------------------------------------------------------ one step, and all of them
    def advance(self) -> tuple[float, float, int]:
        """One update: the loss, the norm of its gradient before clipping, and how many steps were read."""
        settings, parameters = self.settings, self.model.parameters()
        x, target = self.task.batch(self.step)
        first = self.task.first_state(self.model, self.step)
        state = self.state if first is None else first
        differentiate = self._by_program if settings.compile else self._by_graph
        loss, self.state = differentiate(x, target, state)
        if settings.clip_value:
            clip_grad_value_(parameters, settings.clip_value)
        norm = clip_grad_norm_(parameters, settings.clip or math.inf)
        self.optimizer.lr = settings.lr * self.schedule(self.step)
        self.optimizer.step()
        self.step += 1
        return loss, norm, self.task.tokens(x)

    def _by_graph(self, x: Any, target: Any, state: Any) -> tuple[float, Any]:
        """The loss and the state to carry on; every parameter gets its gradient by backpropagation."""
        self.optimizer.zero_grad()
        loss, carried = self.task.objective(self.model, x, target, state)
        loss.backward()
        return loss.item(), truncate(carried)

    def _by_program(self, x: Any, target: Any, state: Any) -> tuple[float, Any]:
        """The same by the compiled objective."""
        found, gradients = self.program(self.model, x, target, state)
        loss, carried = found if isinstance(found, tuple) else (found, None)
        for name, parameter in self.model.named_parameters():
            parameter.grad = gradients[name]
        tensors = [Tensor(h) for h in carried] if isinstance(carried, tuple) else []
        return float(loss), tuple(tensors) if tensors else None if carried is None else Tensor(carried)

    def run(self, say: Callable[[str], None] = _say, progress: bool | None = None, watch: int = 0) -> Result:
        """Train to the end, or until the score stops improving.

        Args:
            say: called with a line at every evaluation.
            progress: show a progress bar; None: only on a terminal.
            watch: look at the model's memory every so many updates (0: never): rows in `watch.jsonl`, a picture
                `watch.svg`, and a line for what has become worse. The run itself is the same to the bit.

        Raises:
            InputError: the folder cannot be written to, holds another run or is in use by one; what was saved before
                stays whole.
        """
        self._make_folder()
        with nullcontext() if self.folder is None else only_one(self.folder):
            self._open()
            return self._run(say, progress, Watched(watch, self.folder, self.step) if watch else None)

    def _run(self, say: Callable[[str], None], progress: bool | None, watched: Watched | None) -> Result:
        settings, score = self.settings, math.nan
        bar = tqdm(
            total=settings.steps, initial=self.step, unit="step", disable=None if progress is None else not progress
        )
        tokens, losses, since = 0, 0.0, self.step
        began = time.perf_counter()
        try:
            while self.step < settings.steps and self.stopped == "done":
                if watched is not None and self.step % watched.every == 0:
                    look = watched.look(self.model, self.task, self.step)
                    with tqdm.external_write_mode():
                        say(look.warning or str(look))
                loss, norm, read = self.advance()
                tokens, losses = tokens + read, losses + loss
                rate = tokens / (time.perf_counter() - began)
                bar.set_postfix_str(f"loss {loss:.4f}, |grad| {norm:.2f}, {rate:,.0f} tokens/s", refresh=False)
                bar.update()
                last = self.step == settings.steps
                if self.step % settings.eval_every == 0 or last:
                    score = self._evaluate(losses / (self.step - since), norm, rate)
                    with tqdm.external_write_mode():
                        say(self._line())
                    tokens, losses, since, began = 0, 0.0, self.step, time.perf_counter()
                if self.step % settings.save_every == 0 or last or self.stopped != "done":
                    self.save()
        except KeyboardInterrupt:
            return Result(self.step, score, self.best, "interrupted")
        finally:
            bar.close()
            if watched is not None:
                watched.draw()
        if math.isnan(score):
            score = self.task.score(self.model)
        return Result(self.step, score, self.best, self.stopped)

    def _make_folder(self) -> None:
        """Before the first step, so that a bad place is found out at once."""
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"cannot write to {self.folder}: {error.strerror}; choose another folder") from error

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
        self.log = Log(self.folder, self.settings.log, upto=self.step)
        if self.step == 0:
            self.save()

    def _evaluate(self, loss: float, norm: float, rate: float) -> float:
        """Score the model, keep it if it is the best so far, and put a record into history and log."""
        score = self.task.score(self.model)
        self._judge(score)
        self.history.append(
            {
                "step": self.step,
                "loss": loss,
                "gradient_norm": norm,
                "score": score,
                "learning_rate": self.optimizer.lr,
                "tokens_per_second": round(rate),
            }
        )
        if self.log is not None:
            self.log.write(self.history[-1])
        return score

    def _line(self) -> str:
        """The last record in words."""
        last = self.history[-1]
        words = self.task.details(last["score"])
        return f"step {last['step']}: loss {last['loss']:.4f}, {words}, {last['tokens_per_second']:,} tokens/s"

    def _judge(self, score: float) -> None:
        """Keep the weights if they are the best so far, and see whether to stop here."""
        sign = 1 if self.task.higher_is_better else -1
        better = sign * score > sign * self.best
        self.best, self.waited = (score, 0) if better else (self.best, self.waited + 1)
        target, patience = self.settings.target, self.settings.patience
        if target is not None and sign * score >= sign * target:
            self.stopped = "target"
        elif patience and self.waited >= patience:
            self.stopped = "early"
        if better and self.folder is not None:
            checkpoint.save(self.folder / BEST, self._snapshot())


__all__ = ["BEST", "Result", "Trainer"]
