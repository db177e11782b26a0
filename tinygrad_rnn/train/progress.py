"""The progress bar of a training run."""

from __future__ import annotations

import os
import threading

from tqdm import tqdm

if hasattr(os, "register_at_fork"):
    # A thread that was drawing its bar holds the lock of all bars, and does not live on in a fork to release it.
    os.register_at_fork(after_in_child=lambda: tqdm.set_lock(threading.RLock()))

__all__ = ["tqdm"]
