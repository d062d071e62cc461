"""A made-up project: records of invented runs on disk, and invented statistics."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslbench.core import per_sample
from sslbench.evaluation.statistics.blocks import average_ranks
from sslbench.evaluation.statistics.components import variance_components
from sslbench.reporting.collect import Collected, collect, expected_cells
from sslbench.reporting.inference import Inference
from sslbench.reporting.records import headlines
from sslbench.reporting.tables import Number, numbers
from sslbench.reporting.write import write_report

CONVOLUTIONAL = ("layer1", "layer2", "layer3", "layer4")
TRANSFORMER = ("block1", "block2", "block3", "block4")
SKILL = {"random_init": 0.20, "random_init_vit": 0.19, "supervised": 0.94}


def interval(
    values: Sequence[float], samples: np.ndarray | None, standard_error: float | None = None
) -> tuple[float | None, float | None, str]:
    """A Wilson interval for one seed with samples, twice the standard error for several seeds."""
    if len(values) == 1:
        if samples is None and standard_error is not None:
            ends = values[0] - 2 * standard_error, values[0] + 2 * standard_error
            return *ends, "95 % bootstrap over test samples"
        if samples is None:
            return None, None, "none"
        n, p, z = samples.shape[1], values[0], 1.96
        centre, scale = p + z * z / (2 * n), 1 + z * z / n
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - half) / scale, (centre + half) / scale, f"95 % Wilson over {n} samples"
    middle = math.fsum(values) / len(values)
    variance = math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)
    half = 4.303 * math.sqrt(variance / len(values))
    return middle - half, middle + half, f"95 % t over {len(values)} seeds"


@dataclass(frozen=True)
class Ranking:
    groups: dict[str, int | None]
    test: str


def ranking(
    values: Mapping[str, Sequence[float]], samples: Mapping[str, np.ndarray] | None, higher: bool
) -> Ranking:
    """Methods whose means are within 0.02 of the one before share a group; none for one seed."""
    test = "made-up test over seeds" + (" and samples" if samples else "")
    if any(len(seeds) == 1 for seeds in values.values()):
        return Ranking(dict.fromkeys(values), "no test")
    sign = 1 if higher else -1
    means = {method: sign * math.fsum(seeds) / len(seeds) for method, seeds in values.items()}
    groups: dict[str, int | None] = {}
    group, last = 0, math.inf
    for method in sorted(means, key=lambda name: -means[name]):
        group += last - means[method] > 0.02
        last = means[method]
        groups[method] = group
    return Ranking(groups, test)


def told_from(
    reference: str,
    values: Mapping[str, Sequence[float]],
    samples: Mapping[str, np.ndarray] | None,
) -> set[str]:
    """Methods whose means are 0.1 or more away; none for one seed."""
    means = {method: math.fsum(seeds) / len(seeds) for method, seeds in values.items()}
    is_far = {name: abs(mean - means[reference]) >= 0.1 for name, mean in means.items()}
    return {name for name, far in is_far.items() if far and len(values[name]) > 1}


INFERENCE = Inference(
    interval=interval,
    ranking=ranking,
    told_from=told_from,
    average_ranks=lambda scores: average_ranks(scores, 0.05),
    components=variance_components,
)


@dataclass
class Project:
    """Records on disk under `root`/metrics for a grid."""

    root: Path
    grid: dict[str, Any]

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def fingerprints(self) -> dict[str, str]:
        return {cell.path: fingerprint(cell.path) for cell in expected_cells(self.grid)}

    def write(self) -> Project:
        for cell in expected_cells(self.grid):
            path = self.root / cell.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record(cell)))
        return self

    def edit(self, path: str, **changes: Any) -> None:
        content = json.loads((self.root / path).read_text())
        (self.root / path).write_text(json.dumps({**content, **changes}))

    def collect(self) -> Collected:
        return collect(self.metrics, self.grid, self.fingerprints)

    def numbers(self) -> list[Number]:
        return numbers(self.collect(), INFERENCE, {})

    def report(self, name: str, references: dict[str, tuple[float, str]]) -> Path:
        collected, out = self.collect(), self.root / name
        write_report(out, collected, INFERENCE, provenance_of(collected), references)
        return out


def fingerprint(path: str) -> str:
    return f"{zlib.crc32(path.encode()):08x}" * 8


def record(cell: Any) -> dict[str, Any]:
    content = {"fingerprint": fingerprint(cell.path), "environment": {}, "per_sample": None}
    content["protocol"] = {"name": cell.protocol, "version": 1}
    content["test_reads"] = [f"data/{cell.dataset}/test.arrow"]
    if cell.protocol == "pretrain":
        content["history"] = [entry(cell, epoch) for epoch in range(20)]
        content["labels"] = "all" if cell.method == "supervised" else "none"
    elif cell.protocol in ("prepare", "extract"):
        content["measurements"] = []
    else:
        content |= (
            special(cell) if cell.protocol in SPECIAL else {"measurements": measurements(cell)}
        )
    return content


def chance(*parts: Any) -> float:
    """A number in [0, 1) that hangs on nothing but its arguments."""
    return zlib.crc32(repr(parts).encode()) / 2**32


def entry(cell: Any, epoch: int) -> dict[str, Any]:
    size = 1 + 6 * chance(cell.method)
    noise = 0.06 * chance(cell.method, cell.seed, epoch) + 0.05 * cell.seed
    return {
        "epoch": epoch,
        "loss": size * (0.35 + 0.65 * math.exp(-epoch / 6)) + noise,
        "parts": {},
        "learning_rate": 0.1,
        "health": {
            "feature_std": 0.06 * (1 - math.exp(-(epoch + 1) / 5)) + 0.01 * noise,
            "effective_rank": 10 + 60 * chance(cell.method) * (1 - math.exp(-epoch / 4)) + noise,
        },
    }


def measurements(cell: Any) -> list[dict[str, Any]]:
    skill = SKILL.get(cell.method, 0.42 + 0.25 * chance(cell.method))
    skill += 0.05 * (chance(cell.path) - 0.5) - 0.06 * (cell.protocol == "knn")
    names = TRANSFORMER if cell.method in ("mae", "dino", "random_init_vit") else CONVOLUTIONAL
    common = {"unit": "fraction", "n": 2000, "split": "test", "better": "higher", "detail": {}}
    found = [
        {"metric": "top1", "value": skill, "role": "headline", "layer": names[3], **common},
        {"metric": "mean_per_class", "value": skill - 0.01, "role": "headline", **common},
    ]
    if cell.protocol == "linear":
        steps = zip(names, (0.55, 0.8, 1.05, 1.0), strict=True)
        values = {name: min(0.99, 0.12 + (skill - 0.12) * share) for name, share in steps}
        found += [
            {"metric": "top1", "value": value, "role": "layer", "layer": name, **common}
            for name, value in values.items()
        ]
    if cell.protocol == "finetune":
        twin = 0.3 + 0.01 * cell.seed
        found += [{"metric": "top1", "value": twin, "role": "twin", "layer": None, **common}]
    return found


SPECIAL = ("mlp", "lowshot", "pose", "labelfree", "followed")


def special(cell: Any) -> dict[str, Any]:
    """What no classification probe has.

    Results of samples (mlp), draws (lowshot), lower is better (pose), neither (labelfree), epochs
    (followed).
    """
    skill = float(measurements(cell)[0]["value"])
    common = {"split": "test", "role": "headline", "layer": None, "detail": {}, "n": 400}
    if cell.protocol == "mlp":
        rng = np.random.default_rng(zlib.crc32(cell.path.encode()))
        right = rng.uniform(size=400) < skill
        entry = {"metric": "top1", "unit": "fraction", "value": float(right.mean())}
        measured = [{**common, **entry, "better": "higher"}]
        return {"measurements": measured, "per_sample": per_sample.encode("top1", right)}
    if cell.protocol == "lowshot":
        draws = [skill + 0.1 * (chance(cell.path, draw) - 0.5) for draw in range(5)]
        entry = {"metric": "top1", "unit": "fraction", "value": math.fsum(draws) / 5}
        return {
            "measurements": [{**common, **entry, "better": "higher", "detail": {"draws": draws}}]
        }
    if cell.protocol == "followed":
        return {"measurements": followed(cell, skill, {**common, "unit": "fraction"})}
    if cell.protocol == "pose":
        entry = {"metric": "distance", "unit": "px", "value": 12.5 * (1 - skill)}
        return {"measurements": [{**common, **entry, "better": "lower"}]}
    figures = {"rankme": ("dimensions", 200 * skill), "alpha": ("", 2 - skill)}
    return {
        "measurements": [
            {**common, "metric": name, "unit": unit, "value": value, "better": "neither"}
            for name, (unit, value) in figures.items()
        ]
    }


def followed(cell: Any, skill: float, common: dict[str, Any]) -> list[dict[str, Any]]:
    """Values after epochs 5, 10, 15 and at the end; random_init has the end alone."""
    trained = not cell.method.startswith("random_init")
    epochs = [*((5, 10, 15) if trained else ()), None]
    values = {epoch: skill + 0.1 * (chance(cell.path, epoch) - 0.5) for epoch in epochs}
    best = max(epochs, key=lambda epoch: values[epoch])

    def entry(metric: str, epoch: int | None, **changes: Any) -> dict[str, Any]:
        told = {"detail": {"epoch": epoch}, "better": "higher"}
        return {**common, "metric": metric, "value": values[epoch], **told, **changes}

    return [
        entry("top1", None),
        entry("top1_best_val_epoch", epochs[0]),
        entry("top1_best_test_epoch", best, better="neither"),
        *(entry("top1", epoch, role="epoch") for epoch in epochs),
    ]


def provenance_of(collected: Collected) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for cell in collected.cells:
        made = {
            "cell": f"probe@{cell.method}-{cell.seed}-{cell.dataset}-{cell.protocol}",
            "command": f"python -m stages.probe --method {cell.method} --seed {cell.seed}",
            "fingerprint": cell.record["fingerprint"],
            "deps": {
                f"data/{cell.dataset}": "1" * 32,
                "sslbench/evaluation": "2" * 32,
            },
            "params": {"probe": {"knn": {"k": 20, "temperature": 0.1}}},
            "environment": {"python": "3.11.9", "torch": "2.11.0", "lock_md5": "0" * 32},
        }
        for metric in (entry["metric"] for entry in headlines(cell.record)):
            identity = f"{cell.dataset}/{cell.method}/{cell.protocol}/{metric}"
            entries.setdefault(identity, {"cells": []})["cells"].append(made)
    return entries


def grid_of(**changes: Any) -> dict[str, Any]:
    grid = {
        "methods": ["random_init", "random_init_vit", "supervised", "simclr", "byol", "mae"],
        "seeds": [0, 1, 2],
        "source": "scenes",
        "targets": ["scenes", "digits"],
        "probes": ["knn", "linear"],
        "transfers": ["finetune"],
        "dense_targets": [],
        "dense_transfers": [],
        "video_targets": [],
        "video_transfers": [],
    }
    return {**grid, **changes}


@pytest.fixture
def inference() -> Inference:
    """Return the invented statistics."""
    return INFERENCE


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    """Return what writes a project whose grid differs in the axes given."""
    return lambda **changes: Project(tmp_path, grid_of(**changes)).write()


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """Return a project of six methods, three seeds, two datasets and three protocols."""
    return make_project()
