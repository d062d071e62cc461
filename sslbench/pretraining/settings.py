"""The parts of params.yaml that the loop reads: one budget for all, one recipe per method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget that every method gets (`pretrain` in params.yaml).

    Attributes:
        epochs: passes over the train split.
        batch_size: images per optimiser step; the last short batch is dropped.
        image_size: side of the images fed to the backbone, in pixels.
        precision: Fabric's word for it.
        accumulate: backward passes per optimiser step; each sees batch_size / accumulate images,
            so in-batch negatives shrink with it.
        checkpoint_every_epochs: how often a resumable state is written to the scratch folder.
        keep_every_epochs: how often the backbone is kept in the checkpoint's trajectory, for
            protocols that follow training; null for never.
    """

    epochs: int
    batch_size: int
    image_size: int
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    accumulate: int
    checkpoint_every_epochs: int
    keep_every_epochs: int | None

    def __post_init__(self) -> None:
        """Refuse budgets that could not run."""
        for name in ("epochs", "batch_size", "image_size", "accumulate", "checkpoint_every_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        every = self.keep_every_epochs
        if every is not None and not 1 <= every < self.epochs:
            raise ValueError("keep_every_epochs must be null, or at least 1 and below epochs")
        if self.batch_size % self.accumulate:
            raise ValueError("accumulate must divide batch_size")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """An optimiser by name; momentum and betas are null where it has none.

    Attributes:
        name: which.
        learning_rate: at the top of the schedule, for the batch size in use (no hidden scaling).
        weight_decay: on matrices and filters only; biases, norms and tokens have none.
    """

    name: Literal["sgd", "adam", "adamw", "lars"]
    learning_rate: float
    weight_decay: float
    momentum: float | None
    betas: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one method is optimised (`recipes.<method>` in params.yaml).

    Attributes:
        backbone: family and its arguments, without image_size.
        warmup_fraction: share of all steps with a linearly rising rate; then half a cosine to 0.
        gradient_clip: largest global gradient norm, or null.
    """

    backbone: dict[str, Any]
    optimizer: OptimizerSettings
    warmup_fraction: float
    gradient_clip: float | None
