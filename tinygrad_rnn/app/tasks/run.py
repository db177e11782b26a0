"""A training run that is made from settings alone, and so from its own checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.arguments import Positive, checked
from ...files import as_path
from ...train import Trainer
from ...train.saved import load_newest
from .schema import check
from .settings import Settings


class TaskTrainer(Trainer):
    """The trainer of a task.

        trainer = TaskTrainer(Settings.of("adding", cell="lstm"), folder="runs/adding")
        result = trainer.run()
        ...
        TaskTrainer.of("runs/adding").run()   # continues bit for bit, wherever it was killed

    Args:
        settings: what to train and how.
        folder: where checkpoints, the log and the best weights go; None keeps nothing.
        comm: an mpi4py communicator.
    """

    @checked
    def __init__(self, settings: Settings, folder: str | Path | None = None, comm: Any = None) -> None:
        self.settings = s = settings
        self.task = task = settings.build_task()
        model = settings.build_model(task.inputs, task.outputs, task.classes_in)
        super().__init__(
            model,
            task.objective,
            task.batch,
            steps=s.steps,
            optimizer=settings.build_optimizer(model),
            schedule=settings.build_schedule(),
            clip=s.clip,
            clip_value=s.clip_value,
            validation=task.score,
            higher_is_better=task.higher_is_better,
            words=task.details,
            patience=s.patience,
            stop_at=s.stop_at,
            eval_every=s.eval_every,
            save_every=s.save_every,
            folder=folder,
            notes={"settings": settings.as_dict(), "task": task.record()},
            carry=task.carries,
            axes=task.axes(),
            backend=s.backend or ("auto" if s.compile else None),
            comm=comm,
        )

    @classmethod
    @checked
    def of(cls, folder: str | Path, steps: Positive | None = None, comm: Any = None) -> TaskTrainer:
        """The run in `folder` as its newest checkpoint left it that is whole and fits its own settings.

        The text of a character model is read again, from the path that the run was begun with; if it is another
        text, the run is refused. So continue only runs whose settings you know.

        Args:
            folder: as given to the run that wrote it.
            steps: another total number of updates.
            comm: an mpi4py communicator.

        Raises:
            InputError: there is no usable checkpoint, the data is not what it was, another version of this package
                wrote it, which may round differently, or the run has made more than `steps` updates already.
        """
        saved, refused = load_newest(as_path(folder, "resume"), check)
        settings = Settings.of(**saved.record["settings"])
        settings.check_file(saved.record["task"])
        trainer = cls(settings if steps is None else replace(settings, steps=steps), folder, comm)
        trainer.task.check_record(saved.record["task"], settings.text)
        trainer.restore(saved)
        trainer.refused = refused
        if steps is not None:
            trainer.stopped = "done"  # asked to go on
        return trainer


__all__ = ["TaskTrainer"]
