"""Resumable state without pickle: tensors in safetensors, the rest in JSON, in one file.

The file carries a hash of its content: a damaged one is put aside, never resumed from.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
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
    facts = json.dumps({"epoch": epoch, "history": history, "scalars": scalars})
    seal = {"facts": facts, "sha256": _digest(tensors, facts)}
    artifacts.write_tensors(folder / STATE, tensors, seal)


def restore(
    folder: Path, method: nn.Module, optimizers: dict[str, Optimizer]
) -> tuple[int, list[Any]]:
    """Load a saved state into fresh objects; return (epochs done, history); (0, []) if none.

    A damaged file counts as none.
    """
    path = folder / STATE
    if not path.exists():
        return 0, []
    found = _read(path)
    if found is None:
        print(f"warning: {path}: damaged; training starts over", file=sys.stderr)
        path.unlink()
        return 0, []
    facts, tensors = found
    prefix = "method/"
    method.load_state_dict(
        {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    )
    for phase, optimizer in optimizers.items():
        _restore_optimizer(optimizer, f"optimizer/{phase}/", {**tensors, **facts["scalars"]})
    return facts["epoch"] + 1, facts["history"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Return a state's facts and tensors, or None if they are not what was saved."""
    try:
        with safe_open(path, framework="pt") as handle:
            seal = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        if seal.get("sha256") != _digest(tensors, seal.get("facts", "")):
            return None
        return json.loads(seal["facts"]), tensors
    except SafetensorError:
        return None


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    """Return a hash of everything in a state: names, types, shapes, values and facts."""
    digest = hashlib.sha256(facts.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        plain = value.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
