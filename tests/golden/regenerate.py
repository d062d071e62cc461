"""Rewrite steps.json: `python -m tests.golden.regenerate`; review the diff like code."""

from __future__ import annotations

from pathlib import Path

import torch

from sslbench.core import artifacts
from tests.contract import harness

STEPS = Path(__file__).with_name("steps.json")


def norm(tensors: list[torch.Tensor]) -> float:
    """Return the Euclidean norm of all values together."""
    return float(torch.stack([tensor.double().norm() for tensor in tensors]).norm())


def step(name: str) -> dict[str, float]:
    """Return losses, gradient norm and parameter norm after one step of a method."""
    method = harness.build_method(name)
    losses = next(harness.train(method, range(1), make=harness.adam))
    parameters = [item for item in method.parameters() if item.requires_grad]
    gradients = [item.grad for item in parameters if item.grad is not None]
    figures = {f"loss/{phase}": value for phase, value in losses.items()}
    return figures | {
        "gradient_norm": norm(gradients),
        "parameter_norm": norm([item.detach() for item in parameters]),
        "num_parameters": sum(item.numel() for item in parameters),
    }


def main() -> None:
    """Write the figures of every method that trains."""
    torch.set_num_threads(1)
    artifacts.write_json(STEPS, {name: step(name) for name in harness.TRAINING})


if __name__ == "__main__":
    main()
