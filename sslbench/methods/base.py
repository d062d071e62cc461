"""The contract between a method and the loop: tensors in, one loss out, state in buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.views.policy import View


@dataclass(frozen=True)
class DataInfo:
    """What a method may know of the data before it sees any of it.

    Attributes:
        num_samples: images in the train split.
        num_classes: classes that the train split's labels name; 0 where unlabelled.
        image_size: side of the square images fed to the backbone, in pixels.
        mean, std: of each channel of images in [0, 1], by which views are normalised.
    """

    num_samples: int
    num_classes: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Needs:
    """What a method asks of its batches beyond views; labels are absent unless granted.

    Attributes:
        labels: with "some", batches hold only the images of the method's `label_subset`.
    """

    labels: Literal["none", "some", "all"] = "none"


@dataclass(frozen=True, kw_only=True)
class LabelSubset:
    """Which labels a method that needs "some" is granted.

    Attributes:
        per_class: labelled train images of each class.
        seed: of their draw, so that every training seed gets the same images.
    """

    per_class: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse a subset without images."""
        if self.per_class < 1:
            raise ValueError(f"per_class must be at least 1, found {self.per_class}")


@dataclass(frozen=True)
class Progress:
    """Where training stands; the only source of schedules."""

    step: int
    total_steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """The epoch that this step belongs to, from 0."""
        return self.step // self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Steps done as a share of all steps, in [0, 1)."""
        return self.step / self.total_steps


@dataclass(frozen=True)
class ViewBatch:
    """One batch as a method sees it.

    Attributes:
        views: augmented copies, each (batch, channel, height, width), normalised floats.
        index: (batch,) position of each image in the train split.
        generator: the step's random stream, for masks and other draws of the method.
        labels: (batch,) class indices, or None unless the method's `needs` grants them.
    """

    views: list[Tensor]
    index: Tensor
    generator: torch.Generator
    labels: Tensor | None = None


@dataclass(frozen=True)
class StepOutput:
    """A phase's scalar loss and its named parts (detached scalars, for curves).

    A part `prototype_entropy` (objectives/entropy.py) is counted among the health figures.
    """

    loss: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochContext:
    """What the loop offers at the start of an epoch.

    Attributes:
        progress: the first step of the epoch.
        extract: maps a function of one batch's views -> (batch, dim) over the whole train split,
            without gradient, in index order: (num_samples, dim). The views are training views.
        generator: the epoch's random stream.
    """

    progress: Progress
    extract: Callable[[Callable[[list[Tensor]], Tensor]], Tensor]
    generator: torch.Generator


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share weight decay and a learning rate, within one phase.

    Attributes:
        weight_decay: whether the recipe's decay applies.
        lr_factor: times the recipe's rate.
        is_scheduled: False keeps the rate at its peak throughout.
        phase: whose optimiser holds them.
    """

    parameters: list[nn.Parameter]
    weight_decay: bool = True
    lr_factor: float = 1.0
    is_scheduled: bool = True
    phase: str = "main"


class Method(nn.Module):
    """A pretraining method. Subclass it once; compose everything else.

    Subclasses set `views`, may set `needs` and `phases`, and implement `forward`. All state that
    training changes lives in parameters or persistent buffers, or a resumed run differs.

    Attributes:
        continues: True where the method starts from the checkpoint of another, its predecessor.
        label_subset: which labels are granted, where `needs` asks for some.
        reestimates_batch_norms: True where training shows the backbone parts of images, whose
            batch-norm statistics whole images do not have; they are then measured again on whole,
            un-augmented train images after the last step, and in the copy of each kept epoch.
    """

    needs: ClassVar[Needs] = Needs()
    phases: ClassVar[tuple[str, ...]] = ("main",)
    trains: ClassVar[bool] = True
    continues: ClassVar[bool] = False
    reestimates_batch_norms: ClassVar[bool] = False
    backbone: Backbone
    views: tuple[View, ...]
    label_subset: LabelSubset | None = None
    labelled_rows: Tensor

    def __init__(self, backbone: Backbone, views: tuple[View, ...]) -> None:
        super().__init__()
        self.backbone = backbone
        self.views = views

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the loss of one phase on one batch."""
        raise NotImplementedError

    def continue_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what the method starts from out of its predecessor's saved state.

        Runs once, after weights are drawn; parts/predecessor.py copies a part.
        """
        raise NotImplementedError

    def grant(self, rows: Tensor) -> None:
        """Keep which train images' labels are shown: (num_labelled,) indices, saved as state."""
        self.register_buffer("labelled_rows", rows)

    def on_epoch_start(self, context: EpochContext) -> None:
        """Clustering, bank initialisation."""

    def before_step(self, progress: Progress) -> None:
        """Teacher update, prototype normalisation; runs before every step's forward pass."""

    def after_backward(self, progress: Progress, phase: str) -> None:
        """Change gradients before the optimiser steps, such as freezing a last layer."""

    @property
    def evaluation_backbone(self) -> Backbone:
        """The network that evaluation receives; a teacher's where the paper says so."""
        return self.backbone

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the trainable parameters: decayed matrices, and biases, norms, tokens without."""
        return split_weight_decay(self)


NEVER_DECAYED = ("cls_token", "pos_embed", "mask_token", "gamma", "weight_g", "original0")


def split_weight_decay(
    module: nn.Module, *, phase: str = "main", lr_factor: float = 1.0, is_scheduled: bool = True
) -> list[ParameterGroup]:
    """Return a module's trainable parameters as a decayed and an undecayed group.

    Undecayed: vectors and scalars (biases, norms), and tokens, positions and weight-norm scales
    whatever their shape, which lightly 1.6's own split would decay.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        is_token = name.rsplit(".", 1)[-1] in NEVER_DECAYED
        (free if parameter.ndim <= 1 or is_token else decayed).append(parameter)
    groups = (
        ParameterGroup(decayed, True, lr_factor, is_scheduled, phase),
        ParameterGroup(free, False, lr_factor, is_scheduled, phase),
    )
    return [group for group in groups if group.parameters]
