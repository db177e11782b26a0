"""Pictures of recurrent graphs and of the gradient that flows through them. Nothing here computes a gradient."""

from . import plots
from .animate import Animation, animate
from .coloured import ColouredText, coloured
from .page import Page, explorer, page
from .render import Picture
from .rolled import rolled
from .style import Theme, themes
from .unrolled import unrolled

__all__ = [
    "Animation",
    "ColouredText",
    "Page",
    "Picture",
    "Theme",
    "animate",
    "coloured",
    "explorer",
    "page",
    "plots",
    "rolled",
    "themes",
    "unrolled",
]
