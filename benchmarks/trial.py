"""One method, one seed, a few minutes: val accuracy of every layer, for choosing recipes.

example: python -m benchmarks.trial simclr --seed 0 --set pretrain.epochs=8

A method that continues others is pretrained after them; `seconds` are its own.
Reads the prepared data of the preset's source (`python -m stages.prepare` makes it) and never the
test split. Prints one line of JSON; nothing is kept. One thread, so two trials share two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sslbench.core import seeding
from sslbench.core.errors import UserError

THREADS = 1


def main() -> None:
    """Run a trial as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="changes")
    try:
        print(json.dumps(trial(**vars(parser.parse_args()))), flush=True)
    except UserError as error:
        sys.exit(f"trial: {error}")


def trial(method: str, seed: int, preset: str, changes: list[str]) -> dict[str, Any]:
    """Pretrain, extract train and val, and return what the probes choose from."""
    seeding.pin_threads(THREADS)
    seeding.seed_torch(seed, THREADS)
    import yaml

    from sslbench import presets
    from sslbench.pretraining.pretrain import Request, pretrain

    chain = presets.ancestry(method, preset)
    values = yaml.safe_load(presets.compose(preset, [f"grid.methods={chain}", *changes]))
    data = Path("data") / values["grid"]["source"]
    out = None
    with tempfile.TemporaryDirectory() as folder:
        for name in chain:
            request = Request(
                name=name,
                seed=seed,
                data=data,
                budget=values["pretrain"],
                recipe=values["recipes"][name],
                method_params=values["methods"][name],
                device="cpu",
                scratch=Path(folder) / "scratch",
                out=Path(folder) / name,
                predecessor=out,
            )
            started = time.perf_counter()
            history, _ = pretrain(request, lambda _: None)
            seconds = round(time.perf_counter() - started, 1)
            out = request.out
        found = _probe(request.out, data, values)
    last = history[-1] if history else {}
    return {"method": method, "seed": seed, "changes": changes, "seconds": seconds, **found, **last}


def _probe(checkpoint: Path, data: Path, values: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return val top1 in percent by protocol and layer."""
    from sslbench.core import params
    from sslbench.core.feature_file import read_features
    from sslbench.data.store import Dataset
    from sslbench.evaluation import protocols
    from sslbench.evaluation.features.extract import extract_features
    from sslbench.evaluation.features.model import load_backbone

    backbone, info = load_backbone(checkpoint)
    dataset, features, out = Dataset.open(data), {}, checkpoint / "features"
    for split in ("train", "val"):
        extract_features(
            backbone, dataset.split(split), info, out, device="cpu", **values["extract"]
        )
        features[split] = read_features(out, split, info.layers)
    found = {}
    for name in values["grid"]["probes"]:
        protocol = protocols.load(name)
        settings = params.build(protocol.Params, values["probe"][name], name)
        choice = protocol.choose(features["train"], features["val"], settings)
        found[name] = {layer.layer: round(100 * layer.val, 1) for layer in choice.layers}
    return found


if __name__ == "__main__":
    main()
