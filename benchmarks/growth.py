"""How memory and CPU time grow with the number of images: each stage at each size by itself.

example: python -m benchmarks.growth --table
         python -m benchmarks.growth --sizes 5000 50000 --only extract knn

Every case is a fresh process with one thread, whose inputs another process made. CPU time is that
of the stage's work, imports left out. Memory is the most that /proc/<pid>/status showed at any of
its readings, 5 ms apart, and includes what the imports take:

own       RssAnon: arrays and objects. Only the process can free it; this is what must not grow.
mapped    RssFile: pages of files, which are libraries' code and memory maps. They grow with the
          files that are read, up to the memory there is, and cost nothing: the kernel drops them
          when somebody needs the space. `ru_maxrss` of getrusage is the sum of both, so it would
          show growth where there is none.

drawn     prepare of `scenes` (32 px, with masks and boxes), every image drawn
files     prepare of a folder of small images, 32 px
extract   a tiny ResNet over 32 px pixels of the store, every layer at most 64 wide
knn       choice and measurement on a layer of 128 values, 256 images of val and of test
linear    the same, three strengths and 10 steps each, whatever the size
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from sslbench.core import seeding

SIZES = (5_000, 50_000, 500_000)
SIDE, DIM, CLASSES, QUERIES, CHUNK = 32, 128, 10, 256, 1000
INTERVAL_SECONDS = 0.005
NETWORK = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 4, "image_size": SIDE}
EXTRACT = {"max_dim": 64, "batch_size": 256, "device": "cpu", "precision": "fp32"}
KNN = {"k": (20, 200), "temperature": (0.07,)}
LINEAR = {
    "log10_c_low": -6.0, "log10_c_high": 0.0, "num_c": 3, "tolerance": 1e-30, "max_iterations": 10,
}  # fmt: skip


@dataclass(frozen=True)
class Growth:
    """One case.

    Attributes:
        stage: a key of `STAGES`.
        images: images of the train split.
        cpu_us: microseconds of CPU time per image.
        own_mib, mapped_mib: most memory seen, in MiB: anonymous, and pages of files.
    """

    stage: str
    images: int
    cpu_us: float
    own_mib: float
    mapped_mib: float


def main() -> None:
    """Measure what is asked for and print or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images, ascending")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--json", type=Path, help="write the records to this file")
    parser.add_argument("--table", action="store_true", help="print Markdown, for docs")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)  # stage, images, folder
    arguments = parser.parse_args()
    if arguments.child:
        stage, images, folder = arguments.child
        _work(stage, int(images), Path(folder))
        return
    seeding.pin_threads(1)  # of the children, whose numpy reads it as it is imported
    found = []
    for stage, images in product(arguments.only, arguments.sizes):
        found.append(measure(stage, images))
        print(found[-1], file=sys.stderr)
    if arguments.json:
        content = [asdict(record) for record in found]
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.table or not arguments.json:
        print(table(found))


def measure(stage: str, images: int) -> Growth:
    """Return one case, measured in a process of its own."""
    make, _ = STAGES[stage]
    with tempfile.TemporaryDirectory(prefix="growth.") as folder:
        make(images, Path(folder))
        command = [sys.executable, "-m", "benchmarks.growth", "--child", stage, str(images), folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            own, mapped = _watch(child)
            said = child.stdout.read() if child.stdout else ""
        if child.returncode:
            sys.exit(f"benchmarks.growth: {stage} of {images} images failed (see above)")
    return Growth(stage, images, 1e6 * json.loads(said) / images, own / 1024, mapped / 1024)


def _watch(child: subprocess.Popen[str]) -> tuple[int, int]:
    """Return the most anonymous and file memory seen until the child ends, in KiB."""
    own = mapped = 0
    while child.poll() is None:
        fields = _status(child.pid)
        own = max(own, fields.get("RssAnon", 0))
        mapped = max(mapped, fields.get("RssFile", 0) + fields.get("RssShmem", 0))
        time.sleep(INTERVAL_SECONDS)
    return own, mapped


def _status(pid: int) -> dict[str, int]:
    """Return the process's memory by kind in KiB; nothing once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.startswith("Rss"))
    return {name: int(value.split()[0]) for name, value in pairs}


def table(records: Sequence[Growth]) -> str:
    """Return Markdown; the last column is the own memory that each further image takes."""
    headings = ("stage", "images", "CPU us/image", "own MiB", "mapped MiB", "own bytes/image more")
    rows = [headings, ("---",) + ("---:",) * 5]
    first: dict[str, Growth] = {}
    for record in records:
        base = first.setdefault(record.stage, record)
        more = (record.own_mib - base.own_mib) * 2**20 / max(1, record.images - base.images)
        rows.append((
            record.stage, f"{record.images:,}", f"{record.cpu_us:.1f}",
            f"{record.own_mib:.0f}", f"{record.mapped_mib:.0f}",
            "-" if record is base else f"{more:.0f}",
        ))  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


Work = Callable[[], object]


def _work(stage: str, images: int, folder: Path) -> None:
    """Do a case's work and print its CPU seconds."""
    _, ready = STAGES[stage]
    work = ready(images, folder)
    started = time.process_time()
    work()
    print(json.dumps(time.process_time() - started))


def _no_inputs(images: int, folder: Path) -> None:
    del images, folder


def _drawn(images: int, folder: Path) -> Work:
    from sslbench.data import scenes
    from sslbench.data.prepare import prepare

    values = {
        "kind": "scenes", "seed": 0, "image_size": SIDE,
        "train": images, "val": QUERIES, "test": QUERIES,
    }  # fmt: skip
    scenes.open_source(scenes.Params(**values))  # imports
    return lambda: prepare("drawn", values, folder / "out")


def _make_files(images: int, folder: Path) -> None:
    """Write small files, all different, in a folder of each class."""
    from PIL import Image

    for label in range(CLASSES):
        (folder / "in" / f"class{label}").mkdir(parents=True)
    row = 0
    for pixels in _pixels(images):
        for image in pixels:
            path = folder / "in" / f"class{row % CLASSES}" / f"{row:07d}.bmp"
            Image.fromarray(image).save(path)
            row += 1


def _files(images: int, folder: Path) -> Work:
    from sslbench.data import folder as kind
    from sslbench.data.prepare import prepare

    del images
    values = {
        "kind": "folder", "root": str(folder / "in"), "labelled": True, "size": SIDE, "seed": 0,
        "limit_per_class": None, "val_fraction": 0.01, "test_fraction": 0.01,
        "on_bad_image": "error",
    }  # fmt: skip
    kind.Params(**values)
    return lambda: prepare("files", values, folder / "out")


def _make_store(images: int, folder: Path) -> None:
    from sslbench.data.store import split_path, split_writer

    start = 0
    with split_writer(split_path(folder, "train"), (SIDE, SIDE, 3)) as writer:
        for pixels in _pixels(images):
            rows = np.arange(start, start + len(pixels))
            writer.append(pixels, rows % CLASSES, [f"train/{row:07d}" for row in rows])
            start += len(pixels)


def _extract(images: int, folder: Path) -> Work:
    import torch

    from sslbench import backbones
    from sslbench.backbones.model_info import ModelInfo
    from sslbench.data.store import Split, split_path
    from sslbench.evaluation.features.extract import extract_features

    del images
    seeding.seed_torch(0, 1)
    backbone = backbones.build(NETWORK)
    mean, std = (0.5,) * 3, (0.25,) * 3
    backbone.set_normalisation(mean, std)
    info = ModelInfo(
        backbone=NETWORK, layers=tuple(backbone.layers), feature_dim=backbone.feature_dim,
        size=SIDE, mean=mean, std=std, labels="none",
    )  # fmt: skip
    with torch.no_grad():
        backbone.eval()(torch.zeros(1, 3, SIDE, SIDE))

    def work() -> None:
        split = Split(split_path(folder, "train"))
        extract_features(backbone, split, info, folder, **EXTRACT)

    return work


def _make_features(images: int, folder: Path) -> None:
    from sslbench.core.feature_file import id_hashes, keyed, write_features

    counts = {"train": images, "val": QUERIES, "test": QUERIES}
    for stream, (split, count) in enumerate(counts.items()):
        chance = np.random.default_rng(stream)
        labels = np.arange(count) % CLASSES
        centres = np.random.default_rng(99).standard_normal((CLASSES, DIM), np.float32)
        values = centres[labels] + 3 * chance.standard_normal((count, DIM), np.float32)
        ids = id_hashes([f"{split}/{row}" for row in range(count)])
        write_features(folder, split, keyed(labels, {"last": values}, ids))


def _probe(protocol_name: str, values: dict) -> Callable[[int, Path], Work]:
    def ready(images: int, folder: Path) -> Work:
        from sslbench.evaluation import protocols
        from sslbench.evaluation.protocols.parts.probe import run_probe

        del images
        protocol = protocols.load(protocol_name)
        return lambda: run_probe(protocol, folder, ("last",), protocol.Params(**values))

    return ready


def _pixels(images: int) -> Iterator[np.ndarray]:
    """Yield drawn images (at most 1000, 32, 32, 3) uint8, all different: one chunk, numbered."""
    from sslbench.data import scenes

    shown = np.concatenate([made.images for made in scenes.chunks(0, "train", CHUNK, SIDE)])
    for start in range(0, images, CHUNK):
        pixels = shown[: images - start].copy()
        numbers = np.arange(start, start + len(pixels), dtype="<u4")
        pixels[:, 0, 0] = numbers.view(np.uint8).reshape(-1, 4)[:, :3]
        yield pixels


# Makes a case's inputs in the folder; imports what the work needs and returns it.
Make, Ready = Callable[[int, Path], None], Callable[[int, Path], Work]
STAGES: dict[str, tuple[Make, Ready]] = {
    "drawn": (_no_inputs, _drawn),
    "files": (_make_files, _files),
    "extract": (_make_store, _extract),
    "knn": (_make_features, _probe("knn", KNN)),
    "linear": (_make_features, _probe("linear", LINEAR)),
}


if __name__ == "__main__":
    main()
