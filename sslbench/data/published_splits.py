"""Splits that the papers use and torchvision does not know.

Sizes: Kornblith et al. 2019 (https://arxiv.org/abs/1805.08974), table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sslbench.core.errors import UserError
from sslbench.data import reading, splits
from sslbench.data.splits import Item

# Training images of each class of Caltech-101; the rest are the test split.
CALTECH_TRAIN = 30
_SUN397_LISTS = {"train": "Training_01.txt", "test": "Testing_01.txt"}

# The items of each split, and the rule in words.
Published = tuple[dict[str, list[Item]], str]


def caltech101(items: Sequence[Item], root: Path, seed: int) -> Published:
    """Return 30 images of each class by hash rank, and all the others as test.

    Raises:
        UserError: a class with no image left for test.
    """
    train = splits.limited(splits.ordered(items, seed), CALTECH_TRAIN)
    chosen = set(train)
    test = [item for item in items if item not in chosen]
    if missing := {item.label for item in items} - {item.label for item in test}:
        example = next(item.id for item in train if item.label in missing)
        what = f"a class has no more than {CALTECH_TRAIN} images, such as {example}"
        mend = "put the whole set there, or set test_fraction above 0"
        raise UserError(what, where=str(root), mend=mend)
    words = f"{CALTECH_TRAIN} of each class for train by {splits.RULE}, all others test"
    return {"train": train, "test": test}, words


def sun397(items: Sequence[Item], root: Path, seed: int) -> Published:  # noqa: ARG001
    """Return the first of the ten official partitions; images of neither list are left out.

    Raises:
        UserError: a list is absent, or names an image that is not there.
    """
    by_id = {item.id: item for item in items}
    made = {}
    for split, name in _SUN397_LISTS.items():
        path = root / "SUN397" / name
        names = [f"SUN397{line}" for line in _lines(path)]
        if missing := [name for name in names if name not in by_id]:
            what = f"{len(missing)} listed images are not there, such as {missing[0]}"
            raise UserError(what, where=str(path), mend="put the whole set there")
        made[split] = [by_id[name] for name in names]
    return made, "official partition 1"


def _lines(path: Path) -> list[str]:
    try:
        return reading.content_of(path).decode("utf-8").split()
    except (OSError, ValueError) as error:
        mend = (
            "put the lists of https://vision.princeton.edu/projects/2010/SUN/download/"
            "Partitions.zip there, or set test_fraction above 0 to split by rule"
        )
        said = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot be read ({said})", where=str(path), mend=mend) from None


SETS: dict[str, Callable[[Sequence[Item], Path, int], Published]] = {
    "caltech101": caltech101,
    "sun397": sun397,
}
