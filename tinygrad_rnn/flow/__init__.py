"""Gradient flow as data: what backprop sends along every edge and into every time step, and what that means."""

from .credit import credit
from .decay import Decay
from .diagnose import Clipping, Diagnosis, NonFinite, diagnose
from .gradient_flow import GradientFlow, StateFlow, WeightFlow, gradient_flow
from .spectrum import Spectrum, spectrum
from .structure import Structure, structure

__all__ = [
    "Clipping",
    "Decay",
    "Diagnosis",
    "GradientFlow",
    "NonFinite",
    "Spectrum",
    "StateFlow",
    "Structure",
    "WeightFlow",
    "credit",
    "diagnose",
    "gradient_flow",
    "spectrum",
    "structure",
]
