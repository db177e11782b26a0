"""Weights in files: safetensors, which PyTorch users exchange, or NumPy's `.npz`; never pickle.

torch:  safetensors.torch.save_file(model.state_dict(), "model.safetensors")
here:   model.load_state_dict(tg.nn.load_weights("model.safetensors"))
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from ..core.arguments import checked
from ..core.tensor import Array, numeric, raw
from ..errors import InputError
from ..escape import is_plain
from ..files import as_path, read_file, write_file
from . import tensorfile

FORMATS = (".safetensors", ".npz")

SAFETENSORS = {"bool", *(f"float{n}" for n in (16, 32, 64))} | {
    f"{kind}{n}" for kind in ("int", "uint") for n in (8, 16, 32, 64)
}
"""The dtypes of NumPy that every version of safetensors can hold; only the newest hold complex numbers."""

LONGEST = 10_000
"""Bytes of a name."""

LARGEST_RATIO = 100
"""An archive of more bytes for each of its own, above 64 MiB, holds no weights: it is made to fill the memory."""

UNREADABLE = (
    zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, TypeError, SyntaxError,
    OverflowError, NotImplementedError, RuntimeError, struct.error, TokenError, MemoryError,
)  # fmt: skip
"""What the readers raise for files that are not what they say: damaged, encrypted, of an unknown kind, too large."""

DIGEST = "sha256"
"""The entry of a safetensors file's metadata that holds a digest of its arrays: the format has no checksum."""


@checked
def save_weights(weights: Any, path: str | Path) -> Path:
    """Write a module's parameters, or arrays by name, whole or not at all.

    What is read back has the same names, shapes, numbers and dtypes, in this machine's order of bytes.

    Args:
        weights: a module, or arrays by name as its `state_dict()` returns them.
        path: where to; its ending, `.safetensors` or `.npz`, says in which format.

    Raises:
        InputError: another ending, a place that cannot be written to, or a name or dtype that cannot be kept.
        DTypeError: a value is not an array of numbers.
    """
    target = checked_path(path, "save_weights")
    state = weights.state_dict() if hasattr(weights, "state_dict") else weights
    if not isinstance(state, Mapping):
        raise InputError(f"save_weights: got {type(state).__name__}, expected a module or arrays by name")
    arrays = {_name(name): _native(numeric(raw(value), f"save_weights: {name}")) for name, value in state.items()}
    if target.suffix == ".safetensors":
        for name, array in arrays.items():
            if array.dtype.name not in SAFETENSORS:
                raise InputError(f"save_weights: {name} is {array.dtype}, which safetensors lacks; save as .npz")
        if "__metadata__" in arrays:
            raise InputError("save_weights: safetensors uses the name __metadata__ itself; rename it, or save as .npz")
        return write_file(target, tensorfile.write(arrays, {DIGEST: digest(arrays)}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # np.savez takes names as keywords, and has some of its own
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return write_file(target, buffer.getvalue())


def _name(name: object) -> str:
    if not isinstance(name, str) or not is_plain(name) or not 0 < len(name.encode()) <= LONGEST:
        raise InputError(
            f"save_weights: got the name {name!r:.80}, expected text of 1 to {LONGEST:,} bytes, no control characters"
        )
    return name


def _native(array: Array) -> Array:
    """A copy as files have it: rows after each other, in this machine's order of bytes."""
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def digest(arrays: Mapping[str, Array], more: str = "") -> str:
    """The SHA-256 of arrays, with their names, dtypes and shapes, and of another text."""
    found = hashlib.sha256(more.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\0{name}\0{array.dtype}\0{array.shape}\0".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def pack(arrays: Mapping[str, Array], record: Any, entry: str) -> bytes:
    """A safetensors file of arrays and a record of plain values, with a digest of both; the same bytes for the same.

    Its metadata have the one entry, as safetensors writes several in random order.
    """
    text = json.dumps(record, sort_keys=True)
    both = json.dumps({"digest": digest(arrays, text), "record": text})
    return tensorfile.write(arrays, {entry: both})


def unpack(content: bytes, entry: str) -> tuple[dict[str, Array], Any]:
    """What was packed.

    Raises:
        KeyError: there is no such entry.
        ValueError: the digest is another one; what is no such file raises one of `UNREADABLE`.
    """
    arrays = tensorfile.read(content)  # which also checks the header, read for the record
    both = json.loads(metadata(content)[entry])
    if both["digest"] != digest(arrays, both["record"]):
        raise ValueError("its contents do not match its digest")
    return arrays, json.loads(both["record"])


def metadata(content: bytes) -> dict[str, str]:
    """What a safetensors file, already found to be one, holds beside its arrays."""
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}


@checked
def load_weights(path: str | Path) -> dict[str, Array]:
    """The arrays of a `.safetensors` or `.npz` file by name.

    Raises:
        InputError: it cannot be read, is damaged, or holds pickled objects, something other than numbers, or
            names with control characters.
    """
    source = checked_path(path, "load_weights")
    try:
        content = read_file(source)
        arrays = _parse(content) if source.suffix == ".safetensors" else _unzip(content)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}; give a file of weights") from error
    except UNREADABLE as error:
        raise InputError(f"{source} is damaged, or not a {source.suffix} file of plain arrays: {error}") from error
    check_names(source, arrays)
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            raise InputError(f"{source} holds {name} of dtype {array.dtype}, expected numbers; use another file")
    return {name: _native(array) for name, array in arrays.items()}


def _parse(content: bytes) -> dict[str, Array]:
    """Every array of a safetensors file; other writers leave no digest in it."""
    arrays = tensorfile.read(content)
    if metadata(content).get(DIGEST, found := digest(arrays)) != found:
        raise ValueError("its arrays do not match its digest")
    return arrays


def _unzip(content: bytes) -> dict[str, Array]:
    """Every array of an `.npz` file. By hand, as `np.load` takes the name "x.npy" for "x"."""
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        end = content.rfind(b"PK\5\6")  # where the number of entries stands, which zipfile does not look at
        count = int.from_bytes(content[end + 10 : end + 12], "little")
        if count != min(len(archive.namelist()), 0xFFFF):
            raise ValueError(f"it should have {count} entries and has {len(archive.namelist())}")
        size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_RATIO * len(content) + 2**26:
            raise ValueError(f"its arrays have {size:,} bytes, far more than it")
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            if name == member or name in arrays:
                raise ValueError(f"its entry {member!r:.80} is no array, or there twice")
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def check_names(source: Path, arrays: Mapping[str, Array]) -> None:
    """A parameter's name is written on: into source, pictures, tables."""
    for name in arrays:
        if not is_plain(name):
            raise InputError(
                f"{source} holds an entry named {name!r:.120}, with line breaks or other control characters; "
                "rename it where the file was written, and use no file of unknown origin"
            )


def checked_path(path: str | Path, what: str, formats: Sequence[str] = FORMATS) -> Path:
    """The path of a file, whose ending must be that of a format."""
    target = as_path(path, what)
    if target.suffix not in formats:
        raise InputError(f"{what}: got {target}, expected a name that ends in {' or '.join(formats)}")
    if target.suffix == ".safetensors":
        tensorfile.require()
    return target


__all__ = ["load_weights", "save_weights"]
