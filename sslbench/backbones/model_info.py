"""model.json: what it takes to build a checkpoint's backbone again and to feed it; no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.core.records import LABELS

FORMAT = 2
_LARGEST = 4096  # pixels; images of evaluation are resized to what a file says
_MEND = "run the pretrain stage again"


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A backbone's description.

    Attributes:
        backbone: the spec that `backbones.build` takes.
        layers: the names of the layers, from input to output.
        feature_dim: width of the pooled feature.
        size: side in pixels of the images it was trained on and expects.
        mean: of each channel over the pretraining data's train split, in [0, 1].
        std: of each channel over the pretraining data's train split, in [0, 1].
        labels: how many labels its weights stand on, one of LABELS, a predecessor's included.
    """

    backbone: dict[str, Any]
    layers: tuple[str, ...]
    feature_dim: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: str

    def write(self, path: Path) -> None:
        """Write model.json atomically."""
        content = asdict(self)
        inputs = {key: content.pop(key) for key in ("size", "mean", "std")}
        artifacts.write_json(path, {"format": FORMAT, **content, "input": inputs})

    @classmethod
    def read(cls, path: Path) -> ModelInfo:
        """Return the content of model.json.

        Raises:
            UserError: the file is absent, damaged or of another format.
        """
        content = artifacts.read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"is not of model format {FORMAT}", where=str(path), mend=_MEND)
        try:
            inputs = content["input"]
            info = cls(
                backbone=dict(content["backbone"]),
                layers=tuple(content["layers"]),
                feature_dim=int(content["feature_dim"]),
                size=int(inputs["size"]),
                mean=tuple(map(float, inputs["mean"])),
                std=tuple(map(float, inputs["std"])),
                labels=str(content["labels"]),
            )
            info.refuse_odd()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"damaged file ({error!r})", where=str(path), mend=_MEND) from None
        return info

    def refuse_odd(self) -> None:
        """Refuse what no pretraining writes.

        Raises:
            ValueError: one of these.
        """
        if self.labels not in LABELS or not 1 <= self.size <= _LARGEST:
            raise ValueError(f"labels {self.labels!r}, size {self.size}")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ValueError(f"mean {self.mean}, std {self.std}")
        if not all(isinstance(name, str) for name in self.layers) or len(self.mean) != len(
            self.std
        ):
            raise ValueError(f"layers {self.layers}, mean {self.mean}, std {self.std}")
