"""A column of a CSV file, one row ahead: read it, train on it, forecast, and see how far back the network looks.

The file is made up, and written where the picture goes: a day's temperature follows the season, and the wind of the day
before. `python csv_series.py FILE COLUMN` takes one of your own.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.app import tasks

folder = Path("pictures")
folder.mkdir(exist_ok=True)
if len(sys.argv) > 2:
    path, column = sys.argv[1:3]
else:
    path, column = folder / "csv_series.csv", "temperature"
    rng, day = np.random.default_rng(0), np.arange(600)
    wind = np.abs(np.convolve(rng.standard_normal(603), [1, 1, 1], "valid"))
    temperature = 12 - 9 * np.cos(2 * np.pi * day / 90) - 2 * wind[:-1] + 0.3 * rng.standard_normal(600)
    rows = [f"day {d},{t:.2f},{w:.2f}" for d, t, w in zip(day, temperature, wind[1:], strict=True)]
    path.write_text("date,temperature,wind\n" + "\n".join(rows) + "\n")

settings = tasks.Settings.of("csv", file=str(path), target=column, lag=40, hidden=24, steps=300)
trainer = tasks.TaskTrainer(settings)
trainer.run()
task, model = trainer.task, trainer.model
said = task.forecasts(model)  # for each row after the first, and the one after the last
print(f"the row after the last: {column} {said[-1]:.2f}")

x, target = task.batch(0)  # some windows, (T, B, columns), and the column one row ahead
states, _ = model.rnn.unrolled(tg.Tensor(x[:, :16]))
print("looking back:", tg.diagnose(tg.squared_error(model.head(states[-1]), target[-1, :16])))

figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
held = np.arange(task.split, len(task.numbers))
axes.plot(held, task.numbers[held], color="#BBBBBB", linewidth=4, label=f"{column}, held out")
axes.plot(held, said[held - 1], color="#993404", linewidth=1, label="one row ahead")
axes.set(xlabel="row", title=task.details(task.score(model)))
axes.legend(frameon=False)
figure.savefig(folder / "csv_series.png", dpi=150)
print(f"written to {folder}: csv_series.png" + ("" if len(sys.argv) > 2 else ", csv_series.csv"))
