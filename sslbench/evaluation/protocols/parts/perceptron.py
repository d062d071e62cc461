"""A network with one hidden layer, trained on frozen features; torch, imported when it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sslbench.core import seeding


@dataclass(frozen=True)
class Recipe:
    """How one network is built and trained.

    Attributes:
        hidden_dim: units of the hidden layer.
        dropout: probability of dropping a hidden unit in training.
        learning_rate: of Adam, constant.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        weight_decay: strength of the L2 penalty per step, decoupled from Adam's scaling (AdamW).
    """

    hidden_dim: int
    dropout: float
    learning_rate: float
    batch_size: int
    weight_decay: float


def predictions(
    features: np.ndarray,
    encoded: np.ndarray,
    queries: np.ndarray,
    recipe: Recipe,
    epochs: Sequence[int],
    seed: int,
) -> dict[int, np.ndarray]:
    """Return what one network predicts after each of these numbers of epochs.

    Args:
        features: (num_samples, dim) float32, standardised.
        encoded: (num_samples,) class indices from 0.
        queries: (num_queries, dim).
        recipe: the network and its training.
        epochs: when to look; training ends with the largest.
        seed: of weights, order and dropout.

    Returns:
        Number of epochs -> (num_queries,) class indices.
    """
    import torch
    from torch.nn import functional

    inputs, labels = torch.from_numpy(features), torch.from_numpy(encoded)
    asked, found = torch.from_numpy(queries), {}
    cuts = list(range(recipe.batch_size, len(inputs), recipe.batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.stream_seed(seed, "probe/perceptron"))
        network = torch.nn.Sequential(
            torch.nn.Linear(features.shape[1], recipe.hidden_dim),
            torch.nn.ReLU(),
            torch.nn.Dropout(recipe.dropout),
            torch.nn.Linear(recipe.hidden_dim, int(encoded.max()) + 1),
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        for epoch in range(1, max(epochs) + 1):
            network.train()
            for rows in torch.randperm(len(inputs)).tensor_split(cuts):
                optimizer.zero_grad()
                loss = functional.cross_entropy(network(inputs[rows]), labels[rows])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if epoch in epochs:
                network.eval()
                with torch.no_grad():
                    found[epoch] = network(asked).argmax(dim=1).numpy()
    return found
