"""What DINO and its heirs share: the head, the temperatures, the losses with their centres.

The centres of the teacher's logits are persistent buffers of lightly's losses, which move them at
each call: once a step, never in evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from lightly.loss import DINOLoss, IBOTPatchLoss
from lightly.models.modules import DINOProjectionHead
from torch import Tensor, nn

from sslbench.methods.base import Progress
from sslbench.objectives.entropy import entropies
from sslbench.objectives.precision import in_float32


@dataclass(frozen=True, kw_only=True)
class DistillationParams:
    """Numbers of a student and a teacher that share prototypes.

    Attributes:
        num_global_views: copies, counted from the first, that the teacher sees.
        hidden_dim: width of the head's two hidden layers.
        bottleneck_dim: width of the unit vectors that meet the prototypes.
        output_dim: number of prototypes.
        batch_norm: whether hidden layers have batch norm; for convolutional backbones.
        norm_last_layer: whether prototypes keep length 1; False lets their lengths learn.
        frozen_last_layer_epochs: epochs at the start during which prototypes stand still.
        student_temperature: divides the student's logits.
        teacher_temperature: divides the teacher's, at step 0 and after the warm-up.
        teacher_warmup_fraction: share of all steps over which it rises, in [0, 1].
        centre_momentum: share of an old centre kept at each step.
        teacher_momentum: at step 0; it rises to 1 along a half cosine.
    """

    num_global_views: int
    hidden_dim: int
    bottleneck_dim: int
    output_dim: int
    batch_norm: bool
    norm_last_layer: bool
    frozen_last_layer_epochs: int
    student_temperature: float
    teacher_temperature: tuple[float, float]
    teacher_warmup_fraction: float
    centre_momentum: float
    teacher_momentum: float

    def __post_init__(self) -> None:
        """Refuse temperatures that divide by nothing, and shares outside [0, 1]."""
        if min(self.student_temperature, *self.teacher_temperature) <= 0:
            raise ValueError("student_temperature and teacher_temperature must be above 0")
        for name in ("teacher_warmup_fraction", "centre_momentum", "teacher_momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], found {getattr(self, name)}")
        if self.frozen_last_layer_epochs < 0:
            found = self.frozen_last_layer_epochs
            raise ValueError(f"frozen_last_layer_epochs must not be negative, found {found}")


def projection_head(feature_dim: int, params: DistillationParams) -> DINOProjectionHead:
    """Return a head from features (rows, feature_dim) to logits (rows, output_dim)."""
    return DINOProjectionHead(
        feature_dim,
        params.hidden_dim,
        params.bottleneck_dim,
        params.output_dim,
        batch_norm=params.batch_norm,
        freeze_last_layer=params.frozen_last_layer_epochs,
        norm_last_layer=params.norm_last_layer,
    )


def teacher_temperature(params: DistillationParams, progress: Progress) -> float:
    """Return the teacher's temperature: linear over the warm-up, constant after it."""
    start, end = params.teacher_temperature
    if progress.fraction >= params.teacher_warmup_fraction:
        return end
    return start + (end - start) * progress.fraction / params.teacher_warmup_fraction


class CrossViewLoss(nn.Module):
    """DINO's loss: each view of the student meets every other view of the teacher."""

    def __init__(self, params: DistillationParams) -> None:
        super().__init__()
        self.params = params
        self.criterion = DINOLoss(
            params.output_dim,
            student_temp=params.student_temperature,
            center_momentum=params.centre_momentum,
        )

    def forward(
        self, targets: Tensor, logits: Tensor, progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross entropy over pairs of different views, and entropies.

        Args:
            targets: the teacher's logits (num_global_views * batch, output_dim).
            logits: the student's (num_views * batch, output_dim), global views first.
            progress: decides the teacher's temperature.
        """
        temperature = teacher_temperature(self.params, progress)
        figures = self._figures(targets.float(), logits.float(), temperature)
        batch = len(targets) // self.params.num_global_views
        criterion = partial(self._by_view, batch=batch, temperature=temperature)
        return in_float32(criterion, targets, logits), figures

    def _by_view(
        self, targets: Tensor, logits: Tensor, *, batch: int, temperature: float
    ) -> Tensor:
        theirs, ours = list(torch.split(targets, batch)), list(torch.split(logits, batch))
        loss: Tensor = self.criterion(theirs, ours, teacher_temp=temperature)
        return loss

    def _figures(self, targets: Tensor, logits: Tensor, temperature: float) -> dict[str, Tensor]:
        """Return entropies as the loss is about to see them, before it moves the centre."""
        centred = (targets - self.criterion.center[0]) / temperature
        ours = logits.detach() / self.params.student_temperature
        return entropies(centred.softmax(dim=1), ours.softmax(dim=1))


class PatchLoss(nn.Module):
    """iBOT's loss: the student tells what the teacher sees at each masked patch."""

    def __init__(self, params: DistillationParams) -> None:
        super().__init__()
        self.params = params
        self.criterion = IBOTPatchLoss(
            params.output_dim,
            student_temp=params.student_temperature,
            center_momentum=params.centre_momentum,
        )

    def forward(self, targets: Tensor, logits: Tensor, masks: Tensor, progress: Progress) -> Tensor:
        """Return the mean over images of the mean cross entropy over their masked patches.

        Args:
            targets: the teacher's logits (num_masked, output_dim), image after image.
            logits: the student's, likewise.
            masks: (images, grid, grid) bool; num_masked are true, perhaps none.
            progress: decides the teacher's temperature.
        """
        if not len(targets):  # the centre's mean over nothing would be NaN, and stay so
            return logits.float().sum()
        temperature = teacher_temperature(self.params, progress)
        return in_float32(partial(self.criterion, teacher_temp=temperature), targets, logits, masks)
