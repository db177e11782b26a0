"""Pictures of recurrent graphs and of the gradient that flows through them. Nothing here computes a gradient."""

from .render import Picture
from .unrolled import unrolled

__all__ = ["Picture", "unrolled"]
