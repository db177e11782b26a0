"""Gradient flow as data: what backprop sends along every edge and into every time step, and what that means."""

from .credit import credit
from .diagnose import Clipping, Diagnosis, Layer, NonFinite, diagnose
from .findings import Finding
from .gradient_flow import GradientFlow, StateFlow, WeightFlow, gradient_flow
from .influence import Influence, influence
from .reach import Memory, Reach, Thresholds
from .spectrum import Spectrum, spectrum
from .structure import Structure, structure
from .watch import Look, Watch

__all__ = [
    "Clipping",
    "Diagnosis",
    "Finding",
    "GradientFlow",
    "Influence",
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
    "credit",
    "diagnose",
    "gradient_flow",
    "influence",
    "spectrum",
    "structure",
]
