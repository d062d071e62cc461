"""Resumable state without pickle: tensors in safetensors, the rest in JSON, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from sslbench.core import artifacts

STATE = "state.safetensors"


def save(
    folder: Path,
    epoch: int,
    method: nn.Module,
    optimizers: dict[str, Optimizer],
    history: list[Any],
) -> None:
    """Write everything that the epochs after `epoch` depend on.

    Random streams need no saving: each step's generator is made from the seed and the step.
    """
    tensors = {f"method/{name}": value for name, value in method.state_dict().items()}
    scalars: dict[str, Any] = {}
    for phase, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                name = f"optimizer/{phase}/{index}/{key}"
                (tensors if isinstance(value, Tensor) else scalars)[name] = value
    facts = {"epoch": epoch, "history": history, "scalars": scalars}
    artifacts.write_tensors(folder / STATE, tensors, {"facts": json.dumps(facts)})


def restore(
    folder: Path, method: nn.Module, optimizers: dict[str, Optimizer]
) -> tuple[int, list[Any]]:
    """Load a saved state into fresh objects; return (epochs done, history); (0, []) if none."""
    path = folder / STATE
    if not path.exists():
        return 0, []
    with safe_open(path, framework="pt") as handle:
        facts = json.loads(handle.metadata()["facts"])
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    prefix = "method/"
    method.load_state_dict(
        {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    )
    for phase, optimizer in optimizers.items():
        _restore_optimizer(optimizer, f"optimizer/{phase}/", {**tensors, **facts["scalars"]})
    return facts["epoch"] + 1, facts["history"]


def _restore_optimizer(optimizer: Optimizer, prefix: str, values: dict[str, Any]) -> None:
    content = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for name, value in values.items():
        if name.startswith(prefix):
            index, key = name[len(prefix) :].split("/", 1)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**content, "state": state})
    for parameter, loaded in optimizer.state.items():
        loaded.update({key: _laid_out_as(parameter, value) for key, value in loaded.items()})


def _laid_out_as(parameter: Tensor, value: Any) -> Any:
    """Return a moment in its parameter's memory layout; files hold plain ones.

    Fused kernels walk through both in memory order, so another layout would pair a filter's weight
    with the moment of another.
    """
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
