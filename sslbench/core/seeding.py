"""The one place that touches global random state, threads and determinism switches.

Importing this module before numpy or torch matters: Snakemake exports OMP_NUM_THREADS and DVC
does not, and a different thread count changes the last bits of a float32 product.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# Turns that a thread of GNU OpenMP waits for the others before it sleeps: what libgomp itself takes
# where it knows of more threads than cores. It cannot know of other processes, and its usual
# 300,000 turns made two cells on two cores ten times slower (docs/performance.md).
_SPIN_COUNT = 1000


def pin_threads(threads: int) -> None:
    """Fix the number of threads of every numeric library; call before importing them."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ.setdefault("GOMP_SPINCOUNT", str(_SPIN_COUNT))
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


def seed_torch(seed: int, threads: int) -> None:
    """Seed torch's, numpy's and Python's global generators and ask for deterministic kernels."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (libraries draw from the global generator)
    torch.manual_seed(seed)
    # Not use_deterministic_algorithms: that one imports the compiler, two seconds for every cell.
    torch.set_deterministic_debug_mode("warn")
    # Filling fresh memory with NaN costs time and changes no result of a correct kernel.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks instead of mapping fresh, zeroed pages at each step.

    Measured at 1.2 to 3 times the speed of fp32 steps on the CPU; no arithmetic changes.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 256 * 2**20)


def stream_seed(seed: int, name: str) -> int:
    """Return a 63-bit seed for a named stream, so that streams do not share draws."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, name: str, device: str = "cpu") -> torch.Generator:
    """Return torch's generator for a named stream of a seed."""
    import torch

    return torch.Generator(device=device).manual_seed(stream_seed(seed, name))
