"""The backbone as it was after earlier epochs, in one safetensors file: keys `<epoch>/<name>`.

Protocols that follow training read it. The last epoch is not in it: that is the checkpoint itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.core import artifacts
from sslbench.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

NAME = "trajectory.safetensors"
_EVERY = "keep_every_epochs"


def write(path: Path, weights: Mapping[int, Mapping[str, np.ndarray]], every: int | None) -> None:
    """Write the weights of each kept epoch.

    Args:
        path: the file.
        weights: epochs done, from 1 -> the backbone's arrays by name; memory maps are copied one
            by one.
        every: how often an epoch was kept; None where none was to be.
    """
    named = {
        f"{epoch}/{name}": value
        for epoch, tensors in weights.items()
        for name, value in tensors.items()
    }
    artifacts.write_arrays(path, named, {_EVERY: "none" if every is None else str(every)})


def epochs_of(path: Path) -> list[int]:
    """Return the epochs that a file holds, ascending; none for a method that does not train.

    Raises:
        UserError: the file is absent or damaged, or its run kept no epoch.
    """
    names, facts = artifacts.read_names(path)
    if facts.get(_EVERY, "none") == "none":
        mend = "set pretrain.keep_every_epochs to 1 or more, and pretrain again"
        raise UserError("no earlier epoch was kept", where=str(path), mend=mend)
    try:
        return sorted({int(name.split("/", 1)[0]) for name in names})
    except ValueError:
        what = "damaged file (a tensor without an epoch)"
        raise UserError(what, where=str(path), mend="run its stage again") from None


def read(path: Path, epoch: int) -> dict[str, torch.Tensor]:
    """Return the weights of one epoch; no other is held.

    Raises:
        UserError: the file is absent or damaged.
    """
    return artifacts.read_tensors(path, prefix=f"{epoch}/")
