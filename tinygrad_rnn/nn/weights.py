"""Weights in files: safetensors, which PyTorch users exchange, or NumPy's `.npz`; never pickle.

torch:  safetensors.torch.save_file(model.state_dict(), "model.safetensors")
here:   model.load_state_dict(tg.nn.load_weights("model.safetensors"))
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ..core.tensor import Array
from ..errors import InputError
from ..escape import is_plain
from ..files import write_file
from .module import Module

FORMATS = (".safetensors", ".npz")


def save_weights(weights: Module | Mapping[str, Array], path: str | Path) -> Path:
    """Write a module's parameters, or arrays by name, whole or not at all.

    Args:
        weights: a module, or what its `state_dict()` returned.
        path: where to; its ending, `.safetensors` or `.npz`, says in which format.

    Raises:
        InputError: another ending, or a place that cannot be written to.
    """
    target = _checked(path)
    state = weights.state_dict() if isinstance(weights, Module) else weights
    arrays = {name: np.array(array, order="C") for name, array in state.items()}
    if target.suffix == ".safetensors":
        return write_file(target, safetensors.numpy.save(arrays))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return write_file(target, buffer.getvalue())


def load_weights(path: str | Path) -> dict[str, Array]:
    """The arrays of a `.safetensors` or `.npz` file by name.

    Raises:
        InputError: it cannot be read, is damaged, or holds pickled objects or names with control characters.
    """
    source = _checked(path)
    try:
        content = source.read_bytes()
        if source.suffix == ".safetensors":
            arrays = dict(safetensors.numpy.load(content))
        else:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from error
    except (SafetensorError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise InputError(f"{source} is damaged, or not a {source.suffix} file of plain arrays: {error}") from error
    _check_names(source, arrays)
    return arrays


def _check_names(source: Path, arrays: Mapping[str, Array]) -> None:
    """A parameter's name is written on: into source, pictures, tables."""
    for name in arrays:
        if not is_plain(name):
            raise InputError(
                f"{source} holds an entry named {name!r:.120}, with line breaks or other control characters; "
                "rename it where the file was written, and use no file of unknown origin"
            )


def _checked(path: str | Path) -> Path:
    target = Path(path)
    if target.suffix not in FORMATS:
        raise InputError(f"weights: {target} ends in neither .safetensors nor .npz; name the format by its ending")
    return target


__all__ = ["load_weights", "save_weights"]
