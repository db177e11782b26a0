"""Safetensors files as bytes; the package of that name is imported with the first, as not every Python has a wheel."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.tensor import Array
from ..errors import InputError


def require() -> None:
    """Ask for the package where a file is named, so that one that is missing is not taken for a damaged file.

    Raises:
        InputError: it is not installed.
    """
    try:
        import safetensors.numpy  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the package safetensors cannot be imported ({error}): pip install safetensors, or for weights alone use "
            "a file that ends in .npz, where this Python has no wheel of it"
        ) from error


def write(arrays: Mapping[str, Array], metadata: dict[str, str]) -> bytes:
    """A file of arrays by name and of texts by name."""
    import safetensors.numpy

    return safetensors.numpy.save(dict(arrays), metadata=metadata)


def read(content: bytes) -> dict[str, Array]:
    """The arrays in a file.

    Raises:
        ValueError: it is no such file.
    """
    import safetensors.numpy

    try:
        return dict(safetensors.numpy.load(content))
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
