"""Write a checkpoint in another library's format, and prove that it gives the same features."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sslbench import lineage
from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts, pipeline
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell
from sslbench.evaluation.features.model import load_backbone, plain_view
from sslbench.exporting import card, formats, loaders

TOLERANCE = 1e-5  # of the largest feature, or of 1
_PRETRAINING = ("pretrain", "continue_pretraining")
_NUM_PROBES = 8  # images of the check
_LOADERS = Path(loaders.__file__).parent


@dataclass(frozen=True)
class Exported:
    """What an export left.

    Attributes:
        folder: where it lies.
        cell: the pretraining cell it was made from.
        info: the checkpoint's description.
        largest_difference: between its features, loaded in a clean process, and the checkpoint's.
    """

    folder: Path
    cell: Cell
    info: ModelInfo
    largest_difference: float


def export(method: str, seed: int, form: str, folder: Path) -> Exported:
    """Export one checkpoint of the grid to a folder, replacing what is there once it is checked.

    Args:
        method: the method's name.
        seed: the pretraining seed.
        form: the format's name.
        folder: the folder to make.

    Raises:
        UserError: no such cell, a checkpoint that is absent or not the recorded one, a format
            that does not suit the backbone, or features that differ.
    """
    writer = formats.load(form)
    cell = _cell(method, seed)
    _refuse_unsound(cell)
    checkpoint = Path(next(out for out in cell.outs if out.endswith(artifacts.BACKBONE))).parent
    backbone, info = load_backbone(checkpoint)
    backbone.eval()
    _refuse_family(form, writer.SUITS, info)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = Path(temporary) / "export"
        made.mkdir(mode=0o755)
        writer.write(backbone, info, made)
        facts = card.facts(cell, info, form) | {"files": _hashes(made)}
        difference = complete(backbone, info, form, facts, made)
        _replace(made, folder)
    return Exported(folder, cell, info, difference)


def complete(
    backbone: Backbone, info: ModelInfo, form: str, facts: dict[str, Any], folder: Path
) -> float:
    """Add loaders and card to written weights; return how far their features are from ours.

    Args:
        backbone: the checkpoint's, in eval mode.
        info: its description.
        form: the format's name.
        facts: the card's content.
        folder: where the format's `write` has been.

    Raises:
        UserError: the copy does not load, or its features differ by more than TOLERANCE.
    """
    shutil.copyfile(_LOADERS / f"{form}.py", folder / "load.py")
    shutil.copyfile(_LOADERS / "features.py", folder / "features.py")
    artifacts.write_json(folder / f"{card.NAME}.json", facts)  # features.py reads it
    difference = _difference(backbone, info, folder)
    facts = facts | {"check": {"largest_difference": difference, "images": _NUM_PROBES}}
    artifacts.write_json(folder / f"{card.NAME}.json", facts)
    artifacts.write_text(folder / f"{card.NAME}.md", card.markdown(facts))
    return difference


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _cell(method: str, seed: int) -> Cell:
    cells = [cell for cell in pipeline.cells() if cell.stage in _PRETRAINING]
    for cell in cells:
        if (cell.item["method"], cell.item["seed"]) == (method, seed):
            return cell
    there = sorted({f"{cell.item['method']} {cell.item['seed']}" for cell in cells})
    mend = "there are: " + ", ".join(there)
    raise UserError(f"no {method!r} with seed {seed}", where="params.yaml: grid", mend=mend)


def _refuse_unsound(cell: Cell) -> None:
    if faults := lineage.check_cell(cell):
        raise UserError(str(faults[0]))


def _refuse_family(form: str, suits: tuple[str, ...], info: ModelInfo) -> None:
    family = info.backbone["family"]
    if family not in suits:
        fitting = [name for name in formats.names() if family in formats.load(name).SUITS]
        mend = "it can be exported as " + ", ".join(fitting)
        raise UserError(f"{form} has no {family} like this", mend=mend)


def probes(size: int) -> np.ndarray:
    """Return the images (8, size, size, 3) uint8 of the check: noise, smooth in half of them."""
    chance = np.random.default_rng(0)
    noise = chance.integers(0, 256, (_NUM_PROBES, size, size, 3), dtype=np.uint8)
    slope = np.linspace(0, 255, size).astype(np.uint8)
    noise[::2] = (noise[::2] // 4 + slope[:, None, None] // 4 * 3).astype(np.uint8)
    return noise


def _difference(backbone: Backbone, info: ModelInfo, folder: Path) -> float:
    """Return the largest difference between a clean process's features and the checkpoint's."""
    images = probes(info.size)
    with torch.inference_mode():
        expected = backbone(plain_view(images, info, "cpu")).numpy()
    found = features_of(images, folder)
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        what = f"the exported network's features differ by {difference:.1e}"
        raise UserError(what, where=str(folder), mend="please report it: this is a defect")
    return difference


def features_of(images: np.ndarray, folder: Path) -> np.ndarray:
    """Return features of the images by `features.py`, in a process that has only the folder."""
    root = str(Path(lineage.__file__).parents[1])
    with tempfile.TemporaryDirectory() as scratch:
        paths = [str(Path(scratch) / f"{number}.png") for number in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(path)
        needs_us = (folder / artifacts.BACKBONE).exists()
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment = {**kept, "PYTHONPATH": root} if needs_us else kept
        command = [sys.executable, str(folder.resolve() / "features.py"), *paths]
        done = subprocess.run(
            command, cwd=scratch, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise UserError(f"the exported network does not load ({last})", where=str(folder))
    rows = [json.loads(line)["features"] for line in done.stdout.splitlines()]
    return np.array(rows, dtype=np.float32)


def _replace(made: Path, folder: Path) -> None:
    """Put a finished export where an older one may lie; only an export is ever replaced."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / f"{card.NAME}.json").exists():
            mend = "name another folder"
            raise UserError("is not empty and not an export", where=str(folder), mend=mend)
        shutil.rmtree(folder)
    made.rename(folder)
