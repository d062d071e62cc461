"""SimCLR v2's classifier: it keeps the first layer of the projection head."""

from __future__ import annotations

from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn


class ClassHead(nn.Module):
    """The first layer of a projection head (linear, batch norm, ReLU) and a linear classifier.

    Source: Chen et al. 2020, https://arxiv.org/abs/2006.10029, section 2, fine-tuning from the
    first layer of a three-layer projection head.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, num_classes: int) -> None:
        super().__init__()
        # Built by lightly's head, so that its state fits; the last layer is not used.
        whole = SimCLRProjectionHead(feature_dim, hidden_dim, hidden_dim, num_layers=2)
        self.first_layer = whole.layers[:3]
        self.classifier = nn.Linear(hidden_dim, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (batch, num_classes) of features (batch, feature_dim)."""
        logits: Tensor = self.classifier(self.first_layer(features))
        return logits
