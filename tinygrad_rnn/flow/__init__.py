"""Gradient flow as data: what backprop sends along every edge and into every time step, and what that means."""

from .credit import credit
from .diagnose import Clipping, Diagnosis, Layer, NonFinite, diagnose
from .gradient_flow import GradientFlow, StateFlow, WeightFlow, gradient_flow
from .influence import Contributions, Influence, contributions, influence
from .inside import Inside, inside
from .memory import Finding, Memory, Thresholds
from .reach import Reach
from .spectrum import Spectrum, spectrum
from .structure import Structure, structure
from .watch import Look, Watch

__all__ = [
    "Clipping",
    "Contributions",
    "Diagnosis",
    "Finding",
    "GradientFlow",
    "Influence",
    "Inside",
    "Layer",
    "Look",
    "Memory",
    "NonFinite",
    "Reach",
    "Spectrum",
    "StateFlow",
    "Structure",
    "Thresholds",
    "Watch",
    "WeightFlow",
    "contributions",
    "credit",
    "diagnose",
    "gradient_flow",
    "influence",
    "inside",
    "spectrum",
    "structure",
]
