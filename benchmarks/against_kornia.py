"""Our executor of views beside kornia's, on batches of bytes in memory, in alternating rounds.

example: python -m benchmarks.against_kornia --rounds 7

The recipe is SimCLR's: crop and resize, flip, jitter with hue, grey, with and without blur.
kornia crops in two ways, by slicing (resized without antialias) and by resampling (likewise); it
draws the order of the four colour operations once a batch, we once an image.

kornia is not in the lock. To install it elsewhere, and to point Python there:

    pip install --target FOLDER --no-deps kornia kornia_rs
    PYTHONPATH=FOLDER python -m benchmarks.against_kornia
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from benchmarks import rounds
from benchmarks.rounds import Record, Work
from benchmarks.throughput.recipes import SIGMA, Case
from sslbench.core import seeding
from sslbench.core.errors import UserError

MODES = ("slice", "resample")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against_kornia",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rounds.add_options(parser)
    parser.add_argument("--sizes", nargs="+", type=int, default=(32, 128), help="sides in pixels")
    parser.add_argument("--images", type=int, default=512, help="images of a round")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    seeding.pin_threads(arguments.threads)
    seeding.seed_torch(0, arguments.threads)
    try:
        refuse_without_kornia()
        records = [record for size in arguments.sizes for record in measure(size, arguments)]
    except UserError as error:
        sys.exit(f"benchmarks.against_kornia: {error}")
    rounds.emit(records, arguments)


def refuse_without_kornia() -> None:
    """Raise if kornia is not there.

    Raises:
        UserError: says how to get it.
    """
    try:
        import kornia  # noqa: F401
    except ImportError as error:
        mend = "see python -m benchmarks.against_kornia --help"
        raise UserError(f"kornia cannot be imported ({error})", mend=mend) from None


def measure(size: int, arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the comparisons at one size: without and with blur, against each way of cropping."""
    from benchmarks.throughput import images

    shared = (arguments.images, arguments.batch_size, None, arguments.threads)
    case = Case("simclr", size, *shared)
    pixels = images.load(None, case.images, size)
    for blur in (0.0, 0.5):
        works = {"ours": ours(case, pixels, blur)}
        works |= {mode: theirs(case, pixels, blur, mode) for mode in MODES}
        rates = rounds.alternate(works, arguments.rounds)
        for mode in MODES:
            name = f"views/kornia-{mode}{'/blur' if blur else ''}"
            yield rounds.compare(name, rates["ours"], rates[mode], size=size, precision="fp32")


def ours(case: Case, pixels, blur: float) -> Work:
    """Return work that makes two views of every image; counted in views."""
    import dataclasses

    import torch

    from benchmarks.throughput import recipes
    from sslbench.views.apply import make_views
    from sslbench.views.policy import Blur

    (view,) = recipes.views(case)
    kind = Blur(probability=blur, sigma=SIGMA) if blur else None
    view = dataclasses.replace(view, blur=kind)
    batches = _batches(pixels, case.batch_size)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    generator = torch.Generator().manual_seed(0)

    def work() -> int:
        made = (make_views((view,), batch, case.size, mean, std, generator) for batch in batches)
        return sum(len(copy) for copies in made for copy in copies)

    return work


def theirs(case: Case, pixels, blur: float, mode: str) -> Work:
    """Return the same work for kornia."""
    import kornia.augmentation as kornia
    import torch
    from torch import nn

    from sslbench.views.geometry import blur_radius

    taps = 2 * blur_radius(SIGMA[1], case.size) + 1
    steps = [
        kornia.RandomResizedCrop((case.size,) * 2, scale=(0.08, 1.0), cropping_mode=mode),
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        kornia.RandomGrayscale(p=0.2),
        *([kornia.RandomGaussianBlur((taps, taps), SIGMA, p=blur)] if blur else []),
        kornia.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    ]
    recipe = nn.Sequential(*steps)
    batches = _batches(pixels, case.batch_size)

    @torch.no_grad()
    def work() -> int:
        return sum(len(recipe(batch.float() / 255)) for batch in batches for _ in range(2))

    return work


def _batches(pixels, size: int) -> list:
    import torch

    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return list(images.split(size))


if __name__ == "__main__":
    main()
