"""An exported ONNX graph in MLflow's model registry, with its signature; no pickle is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.tracking import locks, store

if TYPE_CHECKING:
    import numpy as np


def register(
    model: Path,
    images: np.ndarray,
    features: np.ndarray,
    name: str,
    alias: str,
    tags: Mapping[str, str],
) -> str:
    """Return `name/version` of a registered graph; the same fingerprint is registered once.

    Args:
        model: the ONNX file.
        images: (n, 3, size, size) float32, an example of what goes in.
        features: (n, feature_dim) float32, what comes out.
        name: of the registered model.
        alias: that points to this version, such as `seed0`.
        tags: of the version; FINGERPRINT is among them and names the run it belongs to.
    """
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "1")
    with locks.locked(locks.STORE):
        mirror = store.Store()
        version = _registered(mirror, name, tags) or _log(
            mirror, model, images, features, name, tags
        )
        mirror.client.set_registered_model_alias(name, alias, version)
    return f"{name}/{version}"


def _registered(mirror: store.Store, name: str, tags: Mapping[str, str]) -> str | None:
    """Return the version that has this fingerprint, if there is one."""
    versions = mirror.client.search_model_versions(f"name = '{name}'")
    fingerprint = tags[store.FINGERPRINT]
    found = (v.version for v in versions if v.tags.get(store.FINGERPRINT) == fingerprint)
    return next(map(str, found), None)


def _log(
    mirror: store.Store,
    model: Path,
    images: np.ndarray,
    features: np.ndarray,
    name: str,
    tags: Mapping[str, str],
) -> str:
    import mlflow
    import onnx
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(store.uri())
    mlflow.set_experiment(experiment_id=mirror.experiment)
    run = mirror.find(store.FINGERPRINT, tags[store.FINGERPRINT])
    with mlflow.start_run(run_id=run.info.run_id if run else None):
        info = mlflow.onnx.log_model(
            onnx.load(model), name="backbone", registered_model_name=name,
            signature=infer_signature(images, features), await_registration_for=0,
        )  # fmt: skip
    version = str(info.registered_model_version)
    for key, value in tags.items():
        mirror.client.set_model_version_tag(name, version, key, value)
    return version
