"""Fine-tuning on several labels: is the loss the sum over classes, or their mean?

Mosaics of two to four CIFAR-10 images, each a label of its own; one checkpoint and its random twin,
each rate alone; 11-point mAP on val.

example: python -m benchmarks.several_labels --images data/cifar10_jpeg/train \
             --checkpoint runs/simclr/seed0/checkpoint
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sslbench.data.store import Dataset, DatasetInfo, Split, write_info, write_split
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols import finetune
from sslbench.evaluation.protocols.parts import finetuning
from sslbench.evaluation.protocols.parts.finetuning import Setting
from sslbench.evaluation.protocols.parts.images import JoinedImages
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.views.policy import Crop

SIZES = {"train": 3000, "val": 1000, "test": 2}
TILE = 16
PARAMS = finetune.Params(
    steps=300, batch_size=64, learning_rate=(0.01, 0.03, 0.1, 0.3, 1.0), weight_decay=(0.0,),
    momentum=0.9, adamw=None, crop=Crop(scale=(0.5, 1.0), ratio=(0.75, 1.3333)), flip=0.5,
    warmup_fraction=0.0, standardised=False,
)  # fmt: skip


def main() -> None:
    """Print a table as JSON."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--images", type=Path, required=True, help="folder of classes")
    parser.add_argument("--checkpoint", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_mosaics(arguments.images, Path(folder))
        dataset = Dataset.open(Path(folder))
        train, val = dataset.split("train"), dataset.split("val")
        info = load_backbone(arguments.checkpoint)[1]
        subject = Subject(arguments.checkpoint, info, 0, "cpu")
        data = JoinedImages([train])
        summed = finetuning.loss
        losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "sum": summed,
            "mean": lambda outputs, labels: summed(outputs, labels) / outputs.shape[1],
        }
        for name, loss in losses.items():
            finetuning.loss = loss
            for is_pretrained in (True, False):
                found = {
                    setting.learning_rate: map_of(subject, is_pretrained, data, val, setting)
                    for setting in PARAMS.grid
                }
                print(json.dumps({"loss": name, "pretrained": is_pretrained, "map": found}))


def map_of(
    subject: Subject, is_pretrained: bool, data: JoinedImages, val: Split, setting: Setting
) -> float:
    """Return the 11-point mAP on val of a network trained from one setting."""
    network = finetuning.train_network(subject, is_pretrained, data, setting, PARAMS)
    if network is None:
        return float("nan")  # it diverged
    return round(finetune.value(network, data, val, subject), 4)


def write_mosaics(images: Path, out: Path) -> None:
    """Write a data set of mosaics: no image is in two splits."""
    classes = sorted(path.name for path in images.iterdir())
    tiles = {name: load_tiles(images / name) for name in classes}
    count = min(map(len, tiles.values()))
    parts = {"train": (0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
    rng = np.random.default_rng(0)
    hashes = {}
    for split, size in SIZES.items():
        low, high = (int(share * count) for share in parts[split])
        pixels = np.zeros((size, 2 * TILE, 2 * TILE, 3), np.uint8)
        targets = np.zeros((size, len(classes)), np.int8)
        for row, quarter in np.ndindex(size, 4):
            if quarter > 1 and rng.random() < 0.6:
                continue
            label = rng.integers(len(classes))
            y, x = TILE * (quarter // 2), TILE * (quarter % 2)
            tile = tiles[classes[label]][rng.integers(low, high)]
            pixels[row, y : y + TILE, x : x + TILE] = tile
            targets[row, label] = 1
        ids = [f"{split}-{row}" for row in range(size)]
        unlabelled = np.full(size, -1)
        path = out / f"{split}.arrow"
        hashes[split] = write_split(path, pixels, unlabelled, ids, targets=targets)
    info = DatasetInfo(
        name="mosaics", kind="benchmark", classes=tuple(classes), counts=SIZES, image_size=2 * TILE,
        channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), source=str(images),
        split_rule="drawn apart, 1", sha256=hashes, duplicates={}, skipped=[],
    )  # fmt: skip
    write_info(out, info)


def load_tiles(folder: Path) -> np.ndarray:
    """Return up to 1,500 images of a class (count, TILE, TILE, channel), shrunk."""
    paths = sorted(folder.iterdir())[:1500]
    opened = (Image.open(path).convert("RGB") for path in paths)
    shrunk = [np.asarray(i.resize((TILE, TILE), Image.Resampling.BOX)) for i in opened]
    return np.stack(shrunk)


if __name__ == "__main__":
    main()
