"""Weighted k-nearest-neighbour probe: the neighbours vote with exp(cosine / temperature).

Source   Wu et al. 2018 (instance discrimination), https://arxiv.org/abs/1805.01978, section 3.4;
         used so by DINO, facebookresearch/dino eval_knn.py
Chosen   k, temperature and layer, each on val
Bank     the train split alone, also for test, as in the sources; train + val would be a larger
         bank than the one that k was chosen for
Exact    `parts.neighbours`: no approximate index
"""

from __future__ import annotations

from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import Choice, Measurement, classify_layers
from sslbench.evaluation.protocols.parts.neighbours import Params, choose_layer, voted

NAME = "knn"
VERSION = 1
KIND = "probe"
LABELS = "one"


def choose(train: Features, val: Features, params: Params) -> Choice:
    """Return each layer's k and temperature with the best top1 on val."""
    return Choice(tuple(choose_layer(layer, train, val, params) for layer in train.layers))


def measure(
    choice: Choice,
    train: Features,
    val: Features,  # noqa: ARG001  (part of the contract)
    test: Features,
) -> list[Measurement]:
    """Return top1 and mean_per_class on test at the chosen layer, and top1 of every layer."""
    predictions = {chosen.layer: voted(chosen, train, test) for chosen in choice.layers}
    return classify_layers(choice, predictions, test, {})
