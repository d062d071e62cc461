"""Names and formats of the files inside a stage's folders; safe writes; no pickle anywhere.

Every writer goes through a temporary file in the same folder, fsync and rename, so a reader
never sees half a file.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it over `path`.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        mend = "free some space or make the folder writable, then run again"
        raise UserError(f"cannot write ({error.strerror})", where=str(path), mend=mend) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
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


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the torch tensors of a safetensors file.

    Raises:
        UserError: the file is absent or damaged.
    """
    from safetensors.torch import load

    return _read_safetensors(path, load)  # type: ignore[no-any-return]


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write numpy arrays as safetensors, atomically."""
    from safetensors.numpy import save

    write_bytes(path, save(dict(arrays)))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the numpy arrays of a safetensors file, without importing torch.

    Raises:
        UserError: the file is absent or damaged.
    """
    from safetensors.numpy import load

    return _read_safetensors(path, load)  # type: ignore[no-any-return]


def _read_safetensors(path: Path, load: Any) -> Any:
    from safetensors import SafetensorError

    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            "file not found", where=str(path), mend="run the stage that makes it"
        ) from None
    except SafetensorError as error:
        raise UserError(
            f"damaged file ({error})", where=str(path), mend="run its stage again"
        ) from None
