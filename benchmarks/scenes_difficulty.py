"""How hard `scenes` is: raw pixels, colours, random features and supervised training.

    python benchmarks/scenes_difficulty.py [--seed 0] [--threads 1] [--epochs 30]

Train split to fit, test split to score; nothing is tuned on either.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import warnings


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30, help="of supervised training")
    return parser.parse_args()


ARGUMENTS = parse()
os.environ["OMP_NUM_THREADS"] = str(ARGUMENTS.threads)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from sslbench.data.scene_drawing import Scenes  # noqa: E402
from sslbench.data.scenes import CLASSES, chunks  # noqa: E402

TRAIN, TEST, SIZE = 4000, 2000, 32


def knn(train, labels, test, k=20, temperature=0.07):
    """Weighted cosine kNN (Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4)."""
    train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    similarity = test @ train.T
    nearest = np.argpartition(-similarity, k, axis=1)[:, :k]
    weights = np.exp(np.take_along_axis(similarity, nearest, 1) / temperature)
    votes = np.zeros((len(test), len(CLASSES)))
    for label in range(len(CLASSES)):
        votes[:, label] = (weights * (labels[nearest] == label)).sum(axis=1)
    return votes.argmax(axis=1)


def linear(train, labels, test, c, iterations):
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=c, max_iter=iterations)
    return model.fit(scaler.transform(train), labels).predict(scaler.transform(test))


def colours(images):
    """4 x 4 x 4 histogram, as shares."""
    bins = (images.reshape(len(images), -1, 3) // 64).astype(np.int64) @ np.array([16, 4, 1])
    return np.stack([np.bincount(row, minlength=64) for row in bins]) / bins.shape[1]


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs) for _ in range(2)])
        self.short = nn.Identity()
        if stride > 1:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.short = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.norms[1](self.second(self.norms[0](self.first(x)).relu()))
        return (y + self.short(x)).relu()


def tiny():
    """ResNet BasicBlock [1, 1, 1, 1], width 16, stride-2 stem, 128 features."""
    stem = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    widths = [16, 16, 32, 64, 128]
    blocks = [Block(widths[i], widths[i + 1], 1 if i == 0 else 2) for i in range(4)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def tensor(images):
    scaled = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float().div_(255)
    return ((scaled - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def features(network, images):
    network.eval()
    return torch.cat([network(part) for part in images.split(500)]).numpy()


def augment(images):
    """Flip, and shift by up to 4 pixels."""
    dx, dy = (int(torch.randint(0, 9, ())) for _ in range(2))
    padded = functional.pad(images, (4, 4, 4, 4), mode="reflect")
    shifted = padded[:, :, dy : dy + SIZE, dx : dx + SIZE]
    flips = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(flips, shifted.flip(3), shifted)


def supervised(images, labels, epochs, batch=128):
    """Train with AdamW 2e-3, 5 % warm-up and a cosine; return network and head."""
    network, head = tiny().to(memory_format=torch.channels_last), nn.Linear(128, len(CLASSES))
    parameters = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-4)
    steps = epochs * math.ceil(len(images) / batch)
    for step in range(steps):
        if step % math.ceil(len(images) / batch) == 0:
            order = iter(torch.randperm(len(images)).split(batch))
        rows, done = next(order), step / steps
        rate = min(1.0, done / 0.05) * 0.5 * (1 + math.cos(math.pi * done))
        optimiser.param_groups[0]["lr"] = 2e-3 * rate
        loss = functional.cross_entropy(head(network(augment(images[rows]))), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network, head


def main():
    warnings.simplefilter("ignore")  # the linear probes stop at a fixed number of iterations
    torch.set_num_threads(ARGUMENTS.threads)
    torch.manual_seed(ARGUMENTS.seed)
    start = time.perf_counter()
    train = Scenes.join(list(chunks(ARGUMENTS.seed, "train", TRAIN, SIZE)))
    test = Scenes.join(list(chunks(ARGUMENTS.seed, "test", TEST, SIZE)))
    rate = (TRAIN + TEST) / (time.perf_counter() - start)
    print(f"drawn: {rate:.0f} images/s; train {TRAIN}, test {TEST}, seed {ARGUMENTS.seed}")
    y, truth = train.labels, test.labels

    def show(name, predicted):
        print(f"{name:<28} {100 * np.mean(predicted == truth):5.1f} %", flush=True)

    raw = [part.images.reshape(len(part.images), -1) / np.float32(255) for part in (train, test)]
    centred = [part - raw[0].mean(axis=0) for part in raw]
    show("raw pixels, kNN", knn(raw[0], y, raw[1]))
    show("raw pixels, centred, kNN", knn(centred[0], y, centred[1]))
    show("raw pixels, linear", linear(raw[0], y, raw[1], 1e-3, 60))
    histograms = [colours(part.images) for part in (train, test)]
    show("colour histogram, linear", linear(histograms[0], y, histograms[1], 0.1, 100))
    x, x_test = tensor(train.images), tensor(test.images)
    network = tiny()
    random = [features(network, part) for part in (x, x_test)]
    show("random tiny ResNet, kNN", knn(random[0], y, random[1]))
    show("random tiny ResNet, linear", linear(random[0], y, random[1], 0.3, 150))
    network, head = supervised(x, torch.from_numpy(y), ARGUMENTS.epochs)
    logits = head(torch.from_numpy(features(network, x_test)))
    show(f"supervised, {ARGUMENTS.epochs} epochs", logits.argmax(1).numpy())


if __name__ == "__main__":
    sys.exit(main())
