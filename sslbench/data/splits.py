"""Who goes to train, val and test: by class, by a hash of each image's own name.

A hash of (version, seed, id) ranks the images of a class; the first share is test, the next is
val, the rest is train. So the split does not depend on file order, machine or library, and an
image's rank does not change when others come or go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from sslbench.core.errors import UserError

VERSION = 1
RULE = f"hash rank by class, version {VERSION}"


class Item(NamedTuple):
    """One image before it is read.

    Attributes:
        id: stable name, unique in the data set.
        label: class index; -1 for none.
        position: where the family finds it: a path, or a row of an array.
    """

    id: str
    label: int
    position: str | int


def rank(seed: int, name: str) -> bytes:
    """Return the sort key of an image under a seed."""
    return hashlib.sha256(f"{VERSION}/{seed}/{name}".encode()).digest()


def ordered(items: Sequence[Item], seed: int) -> list[Item]:
    """Return the items by rank: any prefix is a random sample."""
    return sorted(items, key=lambda item: (rank(seed, item.id), item.id))


def stratify(
    items: Sequence[Item],
    classes: Sequence[str],
    *,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    where: str,
) -> dict[str, list[Item]]:
    """Return the items of train, val and test, each ordered by rank.

    Every class keeps at least one image in each split whose fraction is above 0.

    Args:
        items: all images, labelled with indices into `classes`, or all with -1.
        classes: class names, for messages.
        seed: of the ranks.
        val_fraction: share of each class for val, in [0, 1).
        test_fraction: share of each class for test, in [0, 1).
        where: the block in params.yaml, for messages.

    Raises:
        UserError: a class has too few images for the fractions.
    """
    by_class: dict[int, list[Item]] = {}
    for item in ordered(items, seed):
        by_class.setdefault(item.label, []).append(item)
    made: dict[str, list[Item]] = {"train": [], "val": [], "test": []}
    for label, members in sorted(by_class.items()):
        num_test = _share(len(members), test_fraction)
        num_val = _share(len(members), val_fraction)
        if num_test + num_val >= len(members):
            name = classes[label] if label >= 0 else "all images"
            _refuse(name, len(members), num_val, num_test, where)
        made["test"] += members[:num_test]
        made["val"] += members[num_test : num_test + num_val]
        made["train"] += members[num_test + num_val :]
    return {split: ordered(rows, seed) for split, rows in made.items()}


def limited(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return at most `limit` items of each class, the first in the order given."""
    if limit is None:
        return list(items)
    seen: dict[int, int] = {}
    kept = []
    for item in items:
        seen[item.label] = seen.get(item.label, 0) + 1
        if seen[item.label] <= limit:
            kept.append(item)
    return kept


def refuse_fractions(val_fraction: float, test_fraction: float) -> None:
    """Refuse shares that leave nothing to train on, for the `Params` of a family.

    Raises:
        ValueError: a fraction outside [0, 1), or both together 1 or more.
    """
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), found {value}")
    if val_fraction + test_fraction >= 1:
        raise ValueError("val_fraction + test_fraction must stay below 1")


def refuse_unknown_classes(
    train: Sequence[str], others: dict[str, Sequence[str]], where: str
) -> None:
    """Refuse a val or test class that train does not have.

    Raises:
        UserError: names the split and its first such class.
    """
    for split, names in others.items():
        if missing := sorted(set(names) - set(train)):
            raise UserError(
                f"{split} has class {missing[0]!r} and train has not ({len(missing)} such)",
                where=where,
                mend=f"add it to train or remove it from {split}",
            )


def _share(count: int, fraction: float) -> int:
    return max(1, round(count * fraction)) if fraction > 0 else 0


def _refuse(name: str, count: int, num_val: int, num_test: int, where: str) -> None:
    wanted = f"{num_val} for val and {num_test} for test"
    raise UserError(
        f"class {name!r} has {count} image(s), and {wanted} would leave none to train on",
        where=where,
        mend="add images to the class, remove it, or lower val_fraction and test_fraction",
    )
