"""Lightning Fabric for one process on one device."""

from __future__ import annotations

from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment


def make_fabric(device: torch.device, precision: Any) -> Fabric:
    """Return a Fabric.

    Args:
        device: the CPU or one CUDA device.
        precision: Fabric's word for it, such as `32-true`.
    """
    return Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=precision,
        # Named, since Fabric otherwise takes a machine with Slurm for a cluster job of several.
        plugins=[LightningEnvironment()],
    )
