"""Puts an ONNX export into MLflow's model registry."""

from __future__ import annotations

from sslbench.core import artifacts
from sslbench.evaluation.features.model import plain_view
from sslbench.exporting import card
from sslbench.exporting.export import Exported, features_of, probes
from sslbench.tracking import registry, store


def register(made: Exported) -> str:
    """Return `name/version`; the name is `sslbench-<source>-<method>`, the alias `seed<k>`."""
    facts = artifacts.read_json(made.folder / f"{card.NAME}.json")
    images = probes(made.info.size)
    return registry.register(
        made.folder / "model.onnx",
        plain_view(images, made.info, "cpu").numpy(),
        features_of(images, made.folder),
        name=f"sslbench-{facts['source']}-{facts['method']}",
        alias=f"seed{facts['seed']}",
        tags={
            store.FINGERPRINT: facts["fingerprint"],
            "sslbench.method": facts["method"],
            "sslbench.seed": str(facts["seed"]),
            "sslbench.commit": str(facts["git"]["commit"]),
            **{f"sslbench.number.{row['id']}": f"{row['value']:.6g}" for row in facts["numbers"]},
        },
    )
