"""A linear probe on every named layer, each kept wide: the conv1 to conv5 tables.

Source   Zhang et al. 2017 (split-brain), https://arxiv.org/abs/1611.09842, section 4.1: each layer
         is resized to about 9,000 values; so RotNet, https://arxiv.org/abs/1803.07728, which takes
         the maximum (gidariss/FeatureLearningRotNet, adaptive max pooling), and DeepCluster,
         https://arxiv.org/abs/1807.05520, which takes the average (eval_linear.py)
Chosen   C for each layer and pooling, and of these the best, each on val
Differs  logistic regression by L-BFGS on features standardised by train, as in `linear` (the
         sources train by SGD on augmented images); refit on train + val. Where a map is small
         enough to be kept whole there is nothing to pool, and the layer is probed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sslbench.core.feature_file import Features, id_hashes
from sslbench.data.store import Split
from sslbench.evaluation.features.extract import Pooling, is_pooled, pool_layer
from sslbench.evaluation.protocols.base import Choice, LayerChoice, Measurement, classify_layers
from sslbench.evaluation.protocols.parts import linear_fit
from sslbench.evaluation.protocols.parts.frozen import features_of, predictions_of
from sslbench.evaluation.protocols.parts.linear_fit import Probe, choose_layer
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "layers"
VERSION = 1
KIND = "transfer"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """How wide a layer is kept, how it is pooled, and the probe.

    Attributes:
        max_dim: a map is pooled to at most this many values, but at least one per channel.
        pooling: the kinds of pooling, each probed by itself.
        batch_size: images per forward pass.
        linear: the probe of one layer; as in protocol `linear`.
    """

    max_dim: int
    pooling: tuple[Pooling, ...]
    batch_size: int
    linear: linear_fit.Params

    def __post_init__(self) -> None:
        """Refuse sizes below one, and no pooling or one named twice."""
        if min(self.max_dim, self.batch_size) < 1:
            raise ValueError("max_dim and batch_size need one or more")
        if not self.pooling or len(set(self.pooling)) < len(self.pooling):
            raise ValueError("pooling needs one kind or more, each once")

    def wide(self, name: str, layer: Tensor) -> dict[str, Tensor]:
        """Return a layer pooled in each way, (batch, dim); under its own name where it is whole."""
        if not is_pooled(layer, self.max_dim):
            return {name: pool_layer(layer, self.max_dim)}
        return {f"{name}/{how}": pool_layer(layer, self.max_dim, how) for how in self.pooling}


@dataclass(frozen=True)
class LayersChoice(Choice):
    """A choice per layer and pooling, and the probes refitted to train and val at it."""

    probes: Mapping[str, Probe]
    params: Params


def choose(subject: Subject, train: Split, val: Split, params: Params) -> LayersChoice:
    """Return each layer's C with the best top1 on val; one layer's features are held at a time."""
    backbone = subject.backbone(is_pretrained=True)
    choices: list[LayerChoice] = []
    probes: dict[str, Probe] = {}
    for name in subject.info.layers:

        def keep(layers: Mapping[str, Tensor], name: str = name) -> dict[str, Tensor]:
            return params.wide(name, layers[name])

        seen = features_of(backbone, train, subject, params.batch_size, keep)
        held_out = features_of(backbone, val, subject, params.batch_size, keep)
        for layer in seen.layers:
            chosen = choose_layer(layer, seen, held_out, params.linear)
            probes[layer] = Probe.of(chosen, seen, held_out, params.linear)
            choices.append(chosen)
    return LayersChoice(tuple(choices), probes, params)


def measure(
    choice: LayersChoice,
    subject: Subject,
    train: Split,  # noqa: ARG001  (part of the contract)
    val: Split,  # noqa: ARG001
    test: Split,
) -> list[Measurement]:
    """Return top1 and mean_per_class on test at the chosen layer and pooling, and top1 of each."""
    params = choice.params

    def keep(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        wide = (params.wide(name, layer) for name, layer in layers.items())
        return {name: values for kept in wide for name, values in kept.items()}

    predictions = predictions_of(
        choice.probes, subject.backbone(is_pretrained=True), test, subject,
        params.batch_size, keep,
    )  # fmt: skip
    notes = {name: probe.note for name, probe in choice.probes.items()}
    labelled = Features("test", test.labels, {}, id_hashes(test.ids))
    return classify_layers(choice, predictions, labelled, notes)
