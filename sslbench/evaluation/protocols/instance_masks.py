"""Instance masks: Mask R-CNN on the backbone with a feature pyramid, all weights trained.

Source   He et al. 2017, https://arxiv.org/abs/1703.06870 with FPN, arXiv 1612.03144, fine-tuned as
         in MoCo, https://arxiv.org/abs/1911.05722, section 4.2; AP, AP50 and AP75 of masks and of
         boxes by COCO's definition
Chosen   learning rate on val (AP of masks after the last step), for the twin by itself; a grid of
         one rate leaves val unread
Twin     the same detector on the seed's random weights, the same steps, the same grid
Differs  as in detection; the metrics of boxes are those of this network, not of detection's
"""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.data.store import Split
from sslbench.evaluation.protocols.base import Measurement
from sslbench.evaluation.protocols.parts import detection_runs as runs
from sslbench.evaluation.protocols.parts.dense_training import Training
from sslbench.evaluation.protocols.parts.detector import Detector
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "instance_masks"
VERSION = 3
KIND = "dense"
LABELS = "none"


@dataclass(frozen=True, kw_only=True)
class Params:
    """A detector with a mask head, and its training.

    Attributes:
        detector: the sizes of the network and of its images.
        mask_dim: channels of the mask head.
        training: the budget, the optimiser and the grid that val chooses from.
    """

    detector: Detector
    mask_dim: int
    training: Training

    def __post_init__(self) -> None:
        """Refuse a mask head without channels."""
        if self.mask_dim < 1:
            raise ValueError("mask_dim must be 1 or more")


def choose(subject: Subject, train: Split, val: Split, params: Params) -> runs.DetectionChoice:
    """Return the trained detectors, each with the learning rate that did best on val."""
    task = runs.Task(NAME, params.detector, params.training, params.mask_dim)
    return runs.choose(subject, train, val, task)


def measure(
    choice: runs.DetectionChoice, subject: Subject, train: Split, val: Split, test: Split
) -> list[Measurement]:
    """Return ap_mask, ap50_mask, ap75_mask, ap, ap50, ap75 of the backbone, then of its twin."""
    del train, val
    return runs.measure(choice, subject, test)
