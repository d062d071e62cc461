"""Files of images to batches of views, beside torchvision's ImageFolder and torch's DataLoader.

example: python -m benchmarks.large_images --data imagenette/train --table
         python -m benchmarks.large_images --data imagenette/train --size 224 --only mae
         python -m benchmarks.large_images --data imagenette/train --cpu    (where other jobs run)

Nothing trains: a round makes the views of one epoch, and rates are images per second. The views
are the recipes of `benchmarks.throughput`:

simclr    two views: crop, flip, jitter, grey, blur
mae       one view: crop and flip, so mostly decoding

Ours decodes every image again (`decoded`), as it does where a split is larger than the memory for
decoded images, or finds it decoded (`kept`), as from the second epoch on where it is not. The peer
decodes and transforms PIL images with the number of loader workers (0, 1 or 2) that is best here.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import rounds
from benchmarks.rounds import Record, Work
from benchmarks.throughput.recipes import SIGMA, Case, views
from sslbench.core import seeding
from sslbench.core.errors import UserError

METHODS = ("simclr", "mae")
WORKERS = (0, 1, 2)
TRIAL_ROUNDS = 2


def main() -> None:
    """Run the command."""
    arguments = parse()
    seeding.pin_threads(arguments.threads)
    seeding.seed_torch(0, arguments.threads)
    try:
        files = found(arguments)
        records = [record for name in arguments.only for record in measure(name, files, arguments)]
    except UserError as error:
        sys.exit(f"benchmarks.large_images: {error}")
    rounds.emit(records, arguments)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rounds.add_options(parser)
    parser.add_argument("--data", type=Path, required=True, help="a folder of images for a class")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--size", type=int, default=128, help="side of the views in pixels")
    parser.add_argument("--images", type=int, default=512, help="images of a round")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="rates per second of CPU, one thread, no workers: for a machine that others use",
    )
    arguments = parser.parse_args()
    if arguments.cpu:
        arguments.threads = 1
    return arguments


def found(arguments: argparse.Namespace):
    """Return ImageFolder's images, as many as are wanted, spread over all classes.

    Raises:
        UserError: too few, or less than a batch.
    """
    from torch.utils.data import Subset
    from torchvision.datasets import ImageFolder

    if arguments.images < arguments.batch_size:
        mend = "raise --images or lower --batch-size"
        raise UserError("not one whole batch", where="--images", mend=mend)
    try:
        folder = ImageFolder(str(arguments.data))
    except FileNotFoundError as error:
        raise UserError(str(error).splitlines()[0], where="--data") from None
    if len(folder) < arguments.images:
        what = f"{len(folder)} images where {arguments.images} are needed"
        raise UserError(what, where=str(arguments.data), mend="give fewer --images")
    count = arguments.images
    return Subset(folder, [row * len(folder) // count for row in range(count)])


def measure(method: str, files, arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the comparisons of one recipe: decoded every time, and kept."""
    print(f"measuring {method} at {arguments.size} px", file=sys.stderr)
    case = Case(
        method, arguments.size, len(files), arguments.batch_size, arguments.data, arguments.threads
    )
    clocked = by_cpu if arguments.cpu else by_wall
    workers = 0 if arguments.cpu else best(case, files)
    works = {
        "decoded": clocked(ours(case, files, is_kept=False)),
        "kept": clocked(ours(case, files, is_kept=True)),
        "peer": clocked(theirs(case, files, workers)),
    }
    rates = rounds.alternate(works, arguments.rounds)
    details = {
        "clock": "cpu" if arguments.cpu else "wall",
        "threads": case.threads,
        "peer_workers": workers,
    }
    for name in ("decoded", "kept"):
        yield rounds.compare(
            f"{method}/{name}", rates[name], rates["peer"], size=case.size, precision="fp32",
            details=details,
        )  # fmt: skip


def best(case: Case, files) -> int:
    """Return the number of workers with which the peer is fastest."""
    trial = {str(count): theirs(case, files, count) for count in WORKERS}
    rates = rounds.alternate(trial, TRIAL_ROUNDS)
    return int(max(rates, key=lambda name: statistics.median(rates[name])))


def by_wall(work: Callable[[], int]) -> Work:
    """Return the work as it is."""
    return work


def by_cpu(work: Callable[[], int]) -> Work:
    """Return the work, with the seconds of CPU that the process used for it."""

    def timed() -> tuple[int, float]:
        started = time.process_time()
        items = work()
        return items, time.process_time() - started

    return timed


def ours(case: Case, files, is_kept: bool) -> Callable[[], int]:
    """Return work that makes the views of every whole batch, from a split of the store."""
    import torch

    from benchmarks.throughput.ours import NORM, make_method
    from sslbench.data.store import decoder
    from sslbench.pretraining.batches import Batches
    from sslbench.pretraining.feed import Feed

    device, kept_bytes = torch.device("cpu"), decoder.MOST_KEPT_BYTES
    decoder.MOST_KEPT_BYTES = kept_bytes if is_kept else 0
    feed = Feed(stored(files), device)
    decoder.MOST_KEPT_BYTES = kept_bytes
    mean, std = (torch.tensor(values) for values in NORM)
    batches = Batches(feed, make_method(case), case.size, mean, std, case.batch_size, 0, device)
    epochs = itertools.count()

    def work() -> int:
        steps = batches.steps(next(epochs), 1)
        return sum(len(batches.finish(part).index) for parts in steps for part in parts)

    return work


def stored(files):
    """Return the files as a split of the store; its own file is gone once it is mapped."""
    import numpy as np

    from sslbench.data.store import Split, split_path, write_split

    names = [files.dataset.samples[row][0] for row in files.indices]
    contents = [Path(name).read_bytes() for name in names]
    with TemporaryDirectory() as folder:
        path = split_path(Path(folder), "train")
        write_split(
            path, contents, np.full(len(names), -1), [str(row) for row in range(len(names))]
        )
        return Split(path)


def theirs(case: Case, files, workers: int) -> Callable[[], int]:
    """Return the same work for the loader; workers stay alive between epochs."""
    from torch.utils.data import DataLoader

    (view,) = views(case)
    transform = torchvisions(view, case.size)
    files.dataset.transform = lambda image: [transform(image) for _ in range(view.copies)]
    loader = DataLoader(
        files,
        batch_size=case.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def work() -> int:
        return sum(len(labels) for _, labels in loader)

    return work


def torchvisions(view, size: int):
    """Return a view of ours as torchvision's transforms of a PIL image."""
    from torchvision import transforms

    from benchmarks.throughput.ours import NORM
    from sslbench.views.geometry import blur_radius

    steps = [
        transforms.RandomResizedCrop(size, view.crop.scale, view.crop.ratio),
        transforms.RandomHorizontalFlip(view.flip),
    ]
    if jitter := view.jitter:
        strengths = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        steps += [transforms.RandomApply([transforms.ColorJitter(*strengths)], jitter.probability)]
    if view.grey:
        steps += [transforms.RandomGrayscale(view.grey)]
    steps += [transforms.ToTensor()]
    if view.blur:
        taps = 2 * blur_radius(SIGMA[1], size) + 1
        blur = transforms.GaussianBlur(taps, view.blur.sigma)
        steps += [transforms.RandomApply([blur], view.blur.probability)]
    return transforms.Compose([*steps, transforms.Normalize(*NORM)])


if __name__ == "__main__":
    main()
