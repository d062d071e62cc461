"""Is channels_last as accurate as the plain layout, and what does it save?

example: python -m benchmarks.channels_last

Prints JSON: relative errors of one fp32 gradient of the tiny ResNet against float64, with ReLU and
with a smooth activation in its place, and the ratio of step times (plain over channels_last).
"""

import copy
import json
import statistics
import time

from sslbench.core import seeding

THREADS = 2
ROUNDS = 7


def main() -> None:
    seeding.pin_threads(THREADS)
    seeding.seed_torch(0, THREADS)
    print(
        json.dumps({"gradient_error": errors(), "speed": [speed(b) for b in (64, 512)]}, indent=1)
    )


def errors():
    import torch
    from torch import nn

    from sslbench.backbones.resnet import build

    rows = []
    for activation in (nn.ReLU, nn.Softplus):
        for seed in range(3):
            torch.manual_seed(seed)
            model = build(depth="tiny", stem="small", width=16)
            _replace(model, nn.ReLU, activation)
            images = torch.randn(256, 3, 32, 32)
            exact = _gradient(copy.deepcopy(model).double(), images.double())
            row = {"activation": activation.__name__, "seed": seed}
            for name, layout in layouts(torch).items():
                found = _gradient(copy.deepcopy(model).to(memory_format=layout), images)
                row[name] = float((found.double() - exact).norm() / exact.norm())
            rows.append(row)
    return rows


def layouts(torch):
    return {"plain": torch.contiguous_format, "channels_last": torch.channels_last}


def _replace(module, old, new):
    for name, child in module.named_children():
        if isinstance(child, old):
            setattr(module, name, new())
        else:
            _replace(child, old, new)


def _gradient(model, images):
    import torch

    model.zero_grad()
    features = model(images)
    (features.logsumexp(1).mean() + features.square().mean()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def speed(batch):
    """Return median and range of the ratio of step times over alternating rounds."""
    import torch

    from sslbench.backbones.resnet import build

    model = build(depth="tiny", stem="small_stride2", width=16)
    images = torch.randn(batch, 3, 32, 32)
    models = {n: copy.deepcopy(model).to(memory_format=m) for n, m in layouts(torch).items()}
    ratios = []
    for _ in range(ROUNDS + 1):
        seconds = {}
        for name, one in models.items():
            started = time.perf_counter()
            for _ in range(10):
                _gradient(one, images)
            seconds[name] = time.perf_counter() - started
        ratios.append(seconds["plain"] / seconds["channels_last"])
    warm = ratios[1:]
    return {
        "batch": batch,
        "ratio_median": statistics.median(warm),
        "ratio_low": min(warm),
        "ratio_high": max(warm),
        "rounds": ROUNDS,
    }


if __name__ == "__main__":
    main()
