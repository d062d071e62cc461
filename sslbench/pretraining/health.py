"""Is training alive? Non-finite losses stop it; collapse is measured and said aloud."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.core.alarms import alarms
from sslbench.core.errors import UserError
from sslbench.methods.base import Method
from sslbench.methods.parts.teacher import Teacher
from sslbench.objectives.spread import unit_spread


def refuse_non_finite(losses: Tensor, first_step: int, method: str) -> None:
    """Raise if any loss of an epoch is NaN or infinite.

    Args:
        losses: (steps,) of one epoch.
        first_step: the epoch's first step.
        method: its name, for the message.

    Raises:
        UserError: names the step and what to change.
    """
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        step = first_step + int(bad[0])
        raise UserError(
            f"the loss became {losses[bad[0]].item()} at step {step}",
            where=f"pretrain {method}",
            mend=f"lower recipes.{method}.optimizer.learning_rate or set a gradient_clip",
        )


def effective_rank(features: Tensor) -> float:
    """Return exp of the entropy of the normalised singular values of (batch, dim) features.

    Roy and Vetterli 2007; RankMe (Garrido et al. 2023, https://arxiv.org/abs/2210.02885, eq. 1).
    """
    singular = torch.linalg.svdvals(features.double())
    share = singular / singular.sum().clamp_min(1e-12) + 1e-12
    return float(torch.exp(-(share * share.log()).sum()))


def direction_gap(first: Tensor, second: Tensor) -> float:
    """Return 1 - the mean cosine of paired rows, each (batch, dim): in [0, 2], 0 where equal."""
    cosines = functional.cosine_similarity(first.double(), second.double(), dim=1)
    return float((1.0 - cosines.mean()).clamp_min(0.0))


@torch.no_grad()
def measure(method: Method, images: Tensor) -> dict[str, float]:
    """Return the health figures of (batch, channel, height, width) un-augmented images.

    Measured in eval mode, so that nothing of the training changes: `feature_std` and
    `effective_rank` of what evaluation receives, and where there is a teacher
    `teacher_student_gap`, between the features of its backbone and of the student's.
    """
    method.eval()
    features = method.evaluation_backbone(images).float()
    figures = {
        "feature_std": float(unit_spread(features)),
        "effective_rank": effective_rank(features),
    }
    if (teacher := teacher_backbone(method)) is not None:
        figures["teacher_student_gap"] = direction_gap(teacher(images), method.backbone(images))
    method.train()
    return figures


def teacher_backbone(method: Method) -> nn.Module | None:
    """Return the slow copy of the backbone, a teacher's first network; None without a teacher."""
    teachers = (module for module in method.modules() if isinstance(module, Teacher))
    teacher = next(teachers, None)
    return None if teacher is None else teacher[0]


def collapse_warning(figures: Mapping[str, float], method: str, epoch: int) -> str | None:
    """Return a sentence if some figure of an epoch looks collapsed, else None."""
    found = ", ".join(f"{name} {figures[name]:.3f}" for name in alarms(figures))
    if not found:
        return None
    return (
        f"pretrain {method}: looks collapsed after epoch {epoch} ({found}); "
        "see the health curves before trusting its numbers"
    )
