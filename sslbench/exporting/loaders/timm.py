"""This backbone with timm alone; see model_card.md."""

from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

HERE = Path(__file__).parent


def load(folder: Path = HERE) -> nn.Module:
    """Return the network: normalised images (n, 3, height, width) -> features (n, dim)."""
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def features(images: np.ndarray) -> np.ndarray:
    """Return features (n, dim) of normalised float32 images (n, 3, height, width)."""
    with torch.inference_mode():
        found: np.ndarray = load()(torch.from_numpy(images)).numpy()
    return found
