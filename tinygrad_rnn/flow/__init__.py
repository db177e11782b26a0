"""Gradient flow as data: what backprop sends along every edge and into every time step."""

from .gradient_flow import GradientFlow, StateFlow, gradient_flow
from .structure import Structure, structure

__all__ = ["GradientFlow", "StateFlow", "Structure", "gradient_flow", "structure"]
