"""Videos in the store: every row is a frame, columns say of which clip and when."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data.store import Split


@dataclass(frozen=True)
class Clip:
    """One video.

    Attributes:
        name: the frames' ids without their last part.
        rows: (num_frames,) rows of the split, in order of time.
    """

    name: str
    rows: np.ndarray


def clips(split: Split, truth: str) -> list[Clip]:
    """Return the clips of a split, by their number.

    Args:
        split: of a data set of videos.
        truth: the column that the caller is going to read, `object_map` or `keypoints`.

    Raises:
        UserError: the split holds no clips, or not this truth of them.
    """
    for column in ("clip", "frame", truth):
        if column not in split.columns:
            what = "holds no clips" if column != truth else f"its clips have no {truth}"
            mend = "take a data set of videos that has them: kind scene_clips (all) or davis (maps)"
            raise UserError(what, where=str(split.path), mend=mend)
    clip, frame, ids = split.column("clip"), split.column("frame"), split.ids
    found = []
    for number in np.unique(clip):
        rows = np.flatnonzero(clip == number)
        rows = rows[np.argsort(frame[rows], kind="stable")]
        found.append(Clip(ids[rows[0]].rpartition("/")[0], rows))
    return found


def object_map(split: Split, row: int) -> np.ndarray:
    """Return the object numbers (height, width) uint8 of a frame; 0 is background."""
    return np.asarray(Image.open(io.BytesIO(split.encoded(row, "object_map")), formats=["PNG"]))


def keypoints(split: Split, row: int) -> np.ndarray:
    """Return a frame's keypoints (num_points, 3) float32: x, y in pixels, and 1 where visible.

    The middle of the first pixel is (0.5, 0.5).
    """
    return np.array(split.column("keypoints")[row]).reshape(-1, 3)


def map_to_bytes(numbers: np.ndarray) -> bytes:
    """Return a map (height, width) uint8 as the bytes of a PNG."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(numbers, dtype=np.uint8)).save(stream, format="PNG")
    return stream.getvalue()
