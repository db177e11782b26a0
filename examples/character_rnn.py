"""A character RNN: reads a text letter by letter, learns what follows, and writes more of it.

python character_rnn.py [TEXT_FILE [STEPS]]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.app import tasks

path = sys.argv[1] if len(sys.argv) > 1 else None  # None: the help topics that every Python carries
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 600
settings = tasks.Settings.of("char", text=path, cell="gru", hidden=128, steps=steps, eval_every=max(1, steps // 12))
trainer = tasks.TaskTrainer(settings)
vocabulary = trainer.task.vocabulary


def write():
    """Some text in the model's own words."""
    return tasks.sample(trainer.model, vocabulary, 160, prime=vocabulary.characters[-1], temperature=0.7, rng=0)


print(trainer.model.summary(), "\n\nbefore training:\n", write(), "\n", sep="")
start = trainer.task.score(trainer.model)
trainer.run()
print("\nafter training:\n", write(), sep="")

model, cell = trainer.model, trainer.model.rnn.cells["l0"]
ids = trainer.task.held_ids[:9]  # a piece of text that it has not seen
h, loss = None, 0.0
for t, i in tg.steps(ids[:-1, None]):  # the model's own loop, written out: one loss per character
    h = cell(model.embed(i), h)
    loss = loss + tg.softmax_cross_entropy(model.head(h), ids[t + 1, None])
loss.backward()
folder = Path("pictures")
folder.mkdir(exist_ok=True)
tg.viz.unrolled(loss, detail="cell", tokens=vocabulary.decode(ids[:-1])).save(folder / "character_rnn.svg")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
bits = [start] + [record["score"] for record in trainer.history]
axes.plot([0] + [record["step"] for record in trainer.history], bits, "o-", color="#993404")
axes.axhline(np.log2(len(vocabulary)), color="#BBBBBB", label="guessing evenly")
axes.set(
    xlabel="update", ylabel="bits per character, held-out text", title="A character RNN learns to read", ylim=(0, None)
)
axes.legend(frameon=False)
figure.savefig(folder / "character_rnn.png", dpi=150)
print(f"written to {folder}: character_rnn.svg, character_rnn.png")
