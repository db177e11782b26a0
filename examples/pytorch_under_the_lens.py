"""A PyTorch model under the lens: train it there, open it here, and see where its gradient dies.

The task is to recall the first of T symbols at the end. The loss falls to chance and stays there; PyTorch
says no more than that. The same weights here show the gradient of every step: it dies on the way back.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg

try:
    import torch
except ImportError:
    raise SystemExit("this example trains a model in PyTorch, which is not installed: pip install torch") from None

T, B, CLASSES, H = 40, 32, 4, 48
torch.manual_seed(0)
rnn, head = torch.nn.RNN(CLASSES, H), torch.nn.Linear(H, CLASSES)
optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=3e-3)
rng = np.random.default_rng(0)


def batch():
    """Random symbols, one-hot (T, B, CLASSES), and the first of each sequence."""
    ids = rng.integers(0, CLASSES, (T, B))
    return np.eye(CLASSES, dtype=np.float32)[ids], ids[0]


for _ in range(200):
    x, first = batch()
    loss = torch.nn.functional.cross_entropy(head(rnn(torch.tensor(x))[0][-1]), torch.tensor(first))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"PyTorch, after 200 updates: loss {loss.item():.3f}; guessing gives {np.log(CLASSES):.3f}")

# The same names, the same shapes: the weights move over as they are.
ours, our_head = tg.nn.RNN(CLASSES, H, dtype=np.float32), tg.nn.Linear(H, CLASSES, dtype=np.float32)
ours.load_state_dict({name: p.detach().numpy() for name, p in rnn.named_parameters()})
our_head.load_state_dict({name: p.detach().numpy() for name, p in head.named_parameters()})

our_loss = tg.softmax_cross_entropy(our_head(ours(x)[0][-1]), first)
rnn.zero_grad()
torch.nn.functional.cross_entropy(head(rnn(torch.tensor(x))[0][-1]), torch.tensor(first)).backward()
our_loss.backward()
difference = np.abs(ours.weight_hh_l0.grad - rnn.weight_hh_l0.grad.numpy()).max()
print(f"here: the same gradient dL/dW_hh, to {difference:.0e}. But what is it made of?")

flow = tg.gradient_flow(our_loss)
states, per_step = flow.states(), np.linalg.norm(flow.per_step(ours.weight_hh_l0), axis=(1, 2))
norms = np.array([state.norm for state in states])
dies = next((state.step for state in reversed(states) if state.norm < 0.001 * norms[-1]), None)
print(f"from the last state to the first, the gradient changes by a factor {norms[0] / norms[-1]:.0e};")
print(f"at step {dies} of {T} less than 0.1 % of it is left: the first symbol cannot be learnt from.")

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.semilogy([state.step for state in states], norms / norms[-1], color="#053061", label="|dL/dh_t|")
axes.semilogy(range(1, T), per_step[1:] / per_step[-1], color="#E08214", label="what step t adds to dL/dW_hh")
axes.axhline(0.001, color="#BBBBBB", linestyle=":")
if dies is not None:
    axes.annotate(f"0.1 % left at step {dies}", (dies, 0.001), xytext=(-110, 12), textcoords="offset points")
axes.set(xlabel="step t (the loss is at the right, the answer at the left)", ylabel="relative to the last step")
axes.set_title("Where the gradient of a PyTorch RNN dies")
axes.legend(frameon=False)
folder = Path("pictures")
folder.mkdir(exist_ok=True)
figure.savefig(folder / "pytorch_under_the_lens.png", dpi=150)
print(f"written to {folder}: pytorch_under_the_lens.png")
