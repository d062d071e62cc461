"""Detection: Faster R-CNN on the backbone with a feature pyramid, all weights trained.

Source   Ren et al. 2015, https://arxiv.org/abs/1506.01497 with FPN, arXiv 1612.03144, fine-tuned as
         in MoCo, https://arxiv.org/abs/1911.05722, section 4.2: SGD, warm-up, two drops, every
         weight trained, batch norm in the pyramid; AP, AP50 and AP75 by COCO's definition
Chosen   learning rate on val (AP after the last step), for the twin by itself; a grid of one rate
         leaves val unread
Twin     the same detector on the seed's random weights, the same steps, the same grid
Differs  trained on train alone and measured as chosen (the source fixes every setting and trains on
         train + val); steps, batch and sizes are small and stand in params.yaml; one scale in
         training; inputs are normalised with the pretraining data's mean and std; batch norm over
         one device's images, and none in the heads, which have it in the source; VOC's difficult
         objects count as crowds when measured
"""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.data.store import Split
from sslbench.evaluation.protocols.base import Measurement
from sslbench.evaluation.protocols.parts import detection_runs as runs
from sslbench.evaluation.protocols.parts.dense_training import Training
from sslbench.evaluation.protocols.parts.detector import Detector
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "detection"
VERSION = 3
KIND = "dense"
LABELS = "none"


@dataclass(frozen=True, kw_only=True)
class Params:
    """A detector and its training.

    Attributes:
        detector: the sizes of the network and of its images.
        training: the budget, the optimiser and the grid that val chooses from.
    """

    detector: Detector
    training: Training


def choose(subject: Subject, train: Split, val: Split, params: Params) -> runs.DetectionChoice:
    """Return the trained detectors, each with the learning rate that did best on val."""
    task = runs.Task(NAME, params.detector, params.training, mask_dim=None)
    return runs.choose(subject, train, val, task)


def measure(
    choice: runs.DetectionChoice, subject: Subject, train: Split, val: Split, test: Split
) -> list[Measurement]:
    """Return ap, ap50 and ap75 on test of the backbone, then of its twin."""
    del train, val
    return runs.measure(choice, subject, test)
