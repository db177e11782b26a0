"""Pictures of recurrent graphs and of the gradient that flows through them. Nothing here computes a gradient."""

from . import plots
from .page import Page, page
from .render import Picture
from .rolled import rolled
from .style import Theme, themes
from .unrolled import unrolled

__all__ = ["Page", "Picture", "Theme", "page", "plots", "rolled", "themes", "unrolled"]
