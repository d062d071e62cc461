"""Features of image files, one JSON object a line.

example: python features.py cat.jpg dog.png

Images are brought to the size in model_card.json (short side, then centre crop) and normalised.
"""

import json
import sys
from pathlib import Path

import load
import numpy as np
from PIL import Image, ImageOps

INPUT = json.loads((Path(__file__).parent / "model_card.json").read_text(encoding="utf-8"))["input"]


def normalised(path: str) -> np.ndarray:
    """Return one image (3, size, size), as the backbone expects it."""
    size = (INPUT["size"], INPUT["size"])
    image = ImageOps.fit(Image.open(path).convert("RGB"), size, Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255
    mean, std = np.float32(INPUT["mean"]), np.float32(INPUT["std"])
    return ((pixels - mean) / std).transpose(2, 0, 1)


def main(paths: list[str]) -> None:
    """Print the features of each file."""
    if not paths:
        sys.exit(__doc__)
    images = np.stack([normalised(path) for path in paths])
    for path, row in zip(paths, load.features(images), strict=True):
        print(json.dumps({"image": path, "features": row.tolist()}))


if __name__ == "__main__":
    main(sys.argv[1:])
