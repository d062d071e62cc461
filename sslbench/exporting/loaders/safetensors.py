"""This backbone with sslbench, which must be on the path; see model_card.md."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from sslbench.evaluation.features.model import load_backbone

HERE = Path(__file__).parent


def load(folder: Path = HERE) -> nn.Module:
    """Return the network: normalised images (n, 3, height, width) -> features (n, dim)."""
    return load_backbone(folder)[0].eval()


def features(images: np.ndarray) -> np.ndarray:
    """Return features (n, dim) of normalised float32 images (n, 3, height, width)."""
    with torch.inference_mode():
        found: np.ndarray = load()(torch.from_numpy(images)).numpy()
    return found
