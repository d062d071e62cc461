"""Names and formats of the files inside a stage's folders; safe writes; no pickle anywhere.

Every writer goes through a temporary file in the same folder, fsync, rename and fsync of the
folder, so a reader never sees half a file.
"""

from __future__ import annotations

import glob
import json
import math
import mmap
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from sslbench.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

SPLITS = ("train", "val", "test")

# data/<dataset>/
DATASET = "dataset.json"
# runs/<method>/seed<k>/checkpoint/
BACKBONE = "backbone.safetensors"
METHOD = "method.safetensors"
MODEL = "model.json"
HISTORY = "history.json"

TEMPORARY = ".tmp"  # the ending of what is not whole yet; git and DVC ignore it

# Arrays before they have values: name -> numpy type and shape.
Layout: TypeAlias = "Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]"
# safetensors' names of the types that our files of arrays hold.
_TYPES = {"F32": "<f4", "F64": "<f8", "I8": "<i1", "I64": "<i8", "U8": "<u1", "U64": "<u8"}
# The same and what weights may be of besides.
_TENSOR_TYPES = {*_TYPES, "BOOL", "F16", "BF16", "I16", "I32"}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it over `path`.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        mend = "free some space or make the folder writable, then run again"
        raise UserError(f"cannot write ({error.strerror})", where=str(path), mend=mend) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the file system can be asked to."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files and folders that killed writers of `path` left beside it."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, NaN refused, a final newline."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UserError: the file is absent or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            "file not found", where=str(path), mend="run the stage that makes it"
        ) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except (ValueError, RecursionError) as error:  # not JSON or UTF-8, too long a number, too deep
        raise UserError(
            f"not valid JSON ({error})", where=str(path), mend="run its stage again"
        ) from None


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write torch tensors as safetensors, atomically; tensors are made contiguous."""
    from safetensors.torch import save

    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(flat, metadata))


def read_tensors(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the torch tensors of a safetensors file whose names begin so, by the rest of the name.

    Raises:
        UserError: the file is absent or damaged.
    """
    from safetensors import safe_open

    def loaded(file: Path) -> dict[str, torch.Tensor]:
        with safe_open(file, framework="pt") as opened:
            _refuse_types(opened, _TENSOR_TYPES)
            names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118
            # Copies: what is read must not change, or go, with the file.
            return {name[len(prefix) :]: opened.get_tensor(name).clone() for name in names}

    return _read_safetensors(path, loaded)  # type: ignore[no-any-return]


def read_names(path: Path) -> tuple[list[str], dict[str, str]]:
    """Return the names of the tensors of a safetensors file, and its metadata.

    Raises:
        UserError: the file is absent or damaged.
    """
    from safetensors import safe_open

    def looked_at(file: Path) -> tuple[list[str], dict[str, str]]:
        with safe_open(file, framework="numpy") as opened:
            return list(opened.keys()), dict(opened.metadata() or {})

    return _read_safetensors(path, looked_at)  # type: ignore[no-any-return]


class ArrayWriter:
    """Fills the arrays of one safetensors file a few rows at a time; made by `array_writer`."""

    def __init__(self, handle: IO[bytes], layout: Layout, facts: dict[str, str] | None) -> None:
        header, self._offsets = _header(layout, facts)
        self._handle = handle
        self._layout = layout
        handle.write(header)
        handle.truncate(len(header) + sum(map(_num_bytes, layout.values())))

    def write(self, name: str, start: int, values: np.ndarray) -> None:
        """Write rows of an array, from row `start` on.

        Args:
            name: of the array.
            start: the first row.
            values: (rows, ...), of the array's type; a number's one row is the number.
        """
        dtype, (count, *rest) = self._layout[name][0], self._layout[name][1] or (1,)
        values = values.reshape(1) if values.ndim == 0 else values
        if values.dtype != dtype or [*values.shape[1:]] != rest or start + len(values) > count:
            raise ValueError(f"{name!r} does not take {values.dtype} {values.shape} at {start}")
        self._handle.seek(self._offsets[name] + _num_bytes((dtype, (start, *rest))))
        self._handle.write(values.tobytes())


@contextmanager
def array_writer(
    path: Path, layout: Layout, facts: dict[str, str] | None = None
) -> Iterator[ArrayWriter]:
    """Yield a writer of a safetensors file that appears, whole, when the block ends without error.

    Rows that are not written are zeros.

    Args:
        path: the file.
        layout: name -> numpy type and shape, known before any value is.
        facts: the file's metadata.
    """
    with atomic(path) as temporary, temporary.open("wb") as handle:
        yield ArrayWriter(handle, layout, facts)


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], facts: dict[str, str] | None = None
) -> None:
    """Write numpy arrays as safetensors, atomically; no more than one of them is in memory."""
    layout = {name: (values.dtype, values.shape) for name, values in arrays.items()}
    with array_writer(path, layout, facts) as writer:
        for name, values in arrays.items():
            writer.write(name, 0, values)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file, without importing torch: read-only memory maps.

    Raises:
        UserError: the file is absent or damaged.
    """
    return _read_safetensors(path, _mapped)  # type: ignore[no-any-return]


def _mapped(path: Path) -> dict[str, np.ndarray]:
    import numpy as np
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:  # checks the header and the file's length
        _refuse_types(file, set(_TYPES))
    with path.open("rb") as handle:
        content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:start])
    entries.pop("__metadata__", None)
    return {
        name: np.ndarray(
            entry["shape"], _TYPES[entry["dtype"]], content, start + entry["data_offsets"][0]
        )
        for name, entry in entries.items()
    }


def _refuse_types(file: Any, known: set[str]) -> None:
    types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    if other := {name: kind for name, kind in types.items() if kind not in known}:
        name, kind = next(iter(other.items()))
        raise ValueError(f"{name!r} is of type {kind}, which no file of ours holds")


def _header(layout: Layout, facts: dict[str, str] | None) -> tuple[bytes, dict[str, int]]:
    """Return a file's beginning and where in the file each array starts, in bytes.

    The order of the arrays is safetensors' own, asked of it with arrays of no rows.
    """
    import numpy as np
    from safetensors.numpy import save

    empty = {name: np.empty((0, *shape[1:]), dtype) for name, (dtype, shape) in layout.items()}
    entries = json.loads(save(empty, facts)[8:])
    place, places = 0, {}
    for name, entry in entries.items():
        if name not in layout:  # the metadata
            continue
        places[name], end = place, place + _num_bytes(layout[name])
        entry |= {"shape": list(layout[name][1]), "data_offsets": [place, end]}
        place = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    return header, {name: len(header) + start for name, start in places.items()}


def _num_bytes(entry: tuple[np.dtype[Any], tuple[int, ...]]) -> int:
    dtype, shape = entry
    return dtype.itemsize * math.prod(shape)


def _read_safetensors(path: Path, load: Callable[[Path], Any]) -> Any:
    from safetensors import SafetensorError

    try:
        return load(path)
    except FileNotFoundError:
        raise UserError(
            "file not found", where=str(path), mend="run the stage that makes it"
        ) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"damaged file ({error})", where=str(path), mend="run its stage again"
        ) from None
