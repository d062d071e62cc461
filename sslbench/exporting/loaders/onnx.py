"""This backbone with onnxruntime alone; see model_card.md."""

from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).parent


def load(folder: Path = HERE) -> onnxruntime.InferenceSession:
    """Return the graph: `images` (n, 3, height, width), normalised -> `features` (n, dim)."""
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def features(images: np.ndarray) -> np.ndarray:
    """Return features (n, dim) of normalised float32 images (n, 3, height, width)."""
    found: np.ndarray = load().run(["features"], {"images": images})[0]
    return found
