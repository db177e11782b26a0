"""The main job: a character RNN on real text, trained, checked by hand, drawn and explained in one report."""

from .run import run_demo

__all__ = ["run_demo"]
