"""Evaluation beside what others use: kNN and lightly's, a sweep of strengths and one fit elsewhere.

example: python -m benchmarks.evaluation_speed --table
         python -m benchmarks.evaluation_speed --bank 5000 --queries 1000 --only knn

Features are drawn as a network's last layer gives them: positive, and correlated, since few
directions of the space behind them hold most of the variance. All contestants have two threads.

extract   ours: every layer, pooled, from the store; peer: the last one, PIL images through
          torchvision's transforms and a DataLoader in this process, as lightly's benchmarks embed.
knn       ours and `lightly.utils.benchmarking.knn_predict`, 256 queries at a time as there.
linear    ours: fits at 45 strengths, 1e-6 to 1e5; peer: one fit at C = 1. The bar is a tenth. At
          scikit-learn's tolerance, and at the protocol's.
"""

import argparse
from functools import partial

import numpy as np

from benchmarks import rounds
from sslbench.core import seeding

DIM, THREADS, K, TEMPERATURE = 512, 2, 200, 0.1
STRENGTHS = np.logspace(-6, 5, 45).tolist()  # SimCLR (arXiv 2002.05709), appendix B.8
CHECKED = slice(4, 40, 12)  # 1e-5, 1e-2, 10 and 1e4: where the optimum is held against the peer's
SKLEARN_TOLERANCE = 1e-4  # its default
TOLERANCES = (SKLEARN_TOLERANCE, 1e-3)
MAX_ITERATIONS = 200  # the protocol's
SIDE, BATCH, MAX_DIM = 32, 256, 256
LIGHTLY_QUERIES = 256  # a batch of lightly's kNN evaluation


def main() -> None:
    """Measure what is asked for and print or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    rounds.add_options(parser)
    parser.add_argument("--bank", type=int, default=50_000, help="images to learn from")
    parser.add_argument("--queries", type=int, default=10_000, help="images to ask about")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--only", nargs="+", choices=["extract", "knn", "linear"])
    arguments = parser.parse_args()
    seeding.pin_threads(THREADS)
    seeding.seed_torch(0, THREADS)
    only = arguments.only or ["extract", "knn", "linear"]
    found = []
    if "extract" in only:
        found += [extract(arguments, precision) for precision in ("fp32", "bf16")]
    if "knn" in only:
        found += [knn(arguments, classes) for classes in arguments.classes]
    if "linear" in only:
        found += [linear(arguments, tolerance) for tolerance in TOLERANCES]
    rounds.emit(found, arguments)


def drawn(num_samples: int, num_classes: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
    """Return features (num_samples, 512) float32 and labels (num_samples,)."""
    shared = np.random.default_rng(0)
    centres = shared.standard_normal((num_classes, DIM), np.float32)
    mixing = shared.standard_normal((DIM, DIM), np.float32)
    spread = (1 / np.arange(1, DIM + 1)).astype(np.float32)  # variances fall as 1 / rank^2
    chance = np.random.default_rng(seeding.stream_seed(0, stream))
    labels = chance.integers(num_classes, size=num_samples)
    hidden = 0.5 * centres[labels] + chance.standard_normal((num_samples, DIM), np.float32)
    return np.maximum((hidden * spread) @ mixing, 0), labels


def knn(arguments: argparse.Namespace, num_classes: int) -> rounds.Record:
    """Return queries per second of our kNN and of lightly's, by the same k and temperature."""
    from sslbench.evaluation.protocols.parts import neighbours as ours

    bank, labels = drawn(arguments.bank, num_classes, "bank")
    queries, truth = drawn(arguments.queries, num_classes, "queries")
    setting = (K, TEMPERATURE)
    answers = {}

    def mine() -> int:
        answers["ours"] = ours.predict(queries, bank, labels, [setting])[setting]
        return len(queries)

    def theirs() -> int:
        answers["lightly"] = lightly_knn(queries, bank, labels, num_classes)
        return len(queries)

    rates = rounds.alternate({"ours": mine, "lightly": theirs}, arguments.rounds)
    return rounds.compare(
        f"knn/{num_classes} classes", rates["ours"], rates["lightly"], size=0, precision="fp32",
        details={
            "answers that differ": int((answers["ours"] != answers["lightly"]).sum()),
            "top1": float((answers["ours"] == truth).mean()),
        },
    )  # fmt: skip


def lightly_knn(
    queries: np.ndarray, bank: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Return lightly's predictions (num_queries,), a batch of its evaluation at a time."""
    import torch
    from lightly.utils.benchmarking import knn_predict
    from torch.nn.functional import normalize

    stored = normalize(torch.from_numpy(bank), dim=1).T.contiguous()
    asked = normalize(torch.from_numpy(queries), dim=1).split(LIGHTLY_QUERIES)
    answer = partial(
        knn_predict,
        feature_bank=stored,
        feature_labels=torch.from_numpy(labels),
        num_classes=num_classes,
        knn_k=K,
        knn_t=TEMPERATURE,
    )
    return torch.cat([answer(batch)[:, 0] for batch in asked]).numpy()


def linear(arguments: argparse.Namespace, tolerance: float) -> rounds.Record:
    """Return fits per second: ours of the sweep as a whole, scikit-learn's of a single fit."""
    from sklearn.linear_model import LogisticRegression

    num_classes = arguments.classes[0]
    features, labels = drawn(arguments.bank, num_classes, "bank")
    mean, std = features.mean(axis=0), features.std(axis=0)
    features = (features - mean) / std
    fits = {}

    def mine() -> int:
        fits.update(zip(STRENGTHS, sweep(features, labels, STRENGTHS, tolerance), strict=True))
        return 1

    def theirs() -> int:
        LogisticRegression(C=1.0, tol=SKLEARN_TOLERANCE, max_iter=MAX_ITERATIONS).fit(
            features, labels
        )
        return 1

    rates = rounds.alternate({"ours": mine, "scikit-learn": theirs}, arguments.rounds)
    queries, truth = drawn(arguments.queries, num_classes, "queries")
    asked = (queries - mean) / std
    details = {}
    for c in STRENGTHS[CHECKED]:
        peer = LogisticRegression(C=c, tol=SKLEARN_TOLERANCE, max_iter=MAX_ITERATIONS).fit(
            features, labels
        )
        apart = (fits[c].predict(asked) == truth).mean() - (peer.predict(asked) == truth).mean()
        details[f"top1 less scikit-learn's at C {c:.0e}"] = float(apart)
    return rounds.compare(
        f"linear/45 strengths to {tolerance:g}",
        rates["ours"],
        rates["scikit-learn"],
        size=0,
        precision="fp32",
        details=details,
    )


def extract(arguments: argparse.Namespace, precision: str) -> rounds.Record:
    """Return images per second of our extraction and of a DataLoader's loop; one tiny ResNet."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader
    from torchvision import transforms

    from sslbench import backbones
    from sslbench.backbones.model_info import ModelInfo
    from sslbench.evaluation.features.extract import layer_batches, pool_layer

    spec = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 16, "image_size": SIDE}
    mean, std = (0.5,) * 3, (0.25,) * 3
    backbone = backbones.build(spec).eval()
    backbone.set_normalisation(mean, std)
    info = ModelInfo(
        backbone=spec,
        layers=tuple(backbone.layers),
        feature_dim=backbone.feature_dim,
        size=SIDE,
        mean=mean,
        std=std,
        labels="none",
    )
    shape = (arguments.queries, SIDE, SIDE, 3)
    split = _Pixels(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8))
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    pictures = [Image.fromarray(pixels) for pixels in split.pixels]

    def collate(batch: list[Image.Image]) -> torch.Tensor:
        return torch.stack([transform(picture) for picture in batch])

    def mine() -> int:
        batches = layer_batches(
            backbone, split, info, batch_size=BATCH, device="cpu", precision=precision
        )
        for _, layers in batches:
            for layer in layers.values():
                pool_layer(layer, MAX_DIM).numpy()
        return len(split)

    @torch.no_grad()
    def theirs() -> int:
        for batch in DataLoader(pictures, BATCH, collate_fn=collate):
            backbone(batch).numpy()
        return len(pictures)

    rates = rounds.alternate({"ours": mine, "loader": theirs}, arguments.rounds)
    return rounds.compare(
        "extract/tiny resnet", rates["ours"], rates["loader"], size=SIDE, precision=precision
    )


class _Pixels:
    """What extraction reads of a split, in memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def decode(self, rows: np.ndarray, size: int) -> np.ndarray:
        del size
        return self.pixels[rows]


def sweep(features: np.ndarray, labels: np.ndarray, cs: list[float], tolerance: float):
    """Return our fits along the strengths."""
    from sslbench.evaluation.protocols.parts.logistic import fit_path

    num_classes = int(labels.max()) + 1
    return fit_path(
        features, labels, num_classes, cs, tolerance=tolerance, max_iterations=MAX_ITERATIONS
    )


if __name__ == "__main__":
    main()
