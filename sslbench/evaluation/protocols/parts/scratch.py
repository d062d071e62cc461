"""Working arrays whose memory is a nameless file's once they are large; numpy only.

Anonymous memory can only be kept or swapped; a map of a file is written out by the kernel when
somebody else needs the space. So a probe's own memory stays bounded whatever the number of images.
The file lies where Python puts temporary files (TMPDIR).
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile

import numpy as np
from numpy.typing import DTypeLike

from sslbench.core.errors import UserError

LARGE = 2**27  # bytes from which an array is a file's: 128 MiB
CHUNK = 4096  # rows worked on together


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array to fill, of any content.

    Raises:
        UserError: there is no room for the file.
    """
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if num_bytes < LARGE:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="sslbench.") as handle:
            if hasattr(os, "posix_fallocate"):  # a full disk shows here and not at some later write
                os.posix_fallocate(handle.fileno(), 0, num_bytes)
            else:
                handle.truncate(num_bytes)
            return np.ndarray(shape, dtype, mmap.mmap(handle.fileno(), num_bytes))
    except OSError as error:
        what = f"no room for {num_bytes / 2**30:.1f} GiB of working arrays ({error.strerror})"
        mend = "free some space, or set TMPDIR to a larger disk"
        raise UserError(what, where=tempfile.gettempdir(), mend=mend) from None


def transposed(values: np.ndarray) -> np.ndarray:
    """Return values (rows, columns) as contiguous (columns, rows)."""
    made = empty(values.shape[::-1], values.dtype)
    for start in range(0, len(values), CHUNK):
        made[:, start : start + CHUNK] = values[start : start + CHUNK].T
    return made
