"""From a predecessor's checkpoint to the method that continues it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.methods.base import Method


def hand_over(folder: Path | None, method: Method, backbone: Mapping[str, Any], name: str) -> None:
    """Let a method that continues another take its tensors; check that one is given if need be.

    Args:
        folder: the predecessor's checkpoint.
        method: the method, its weights drawn.
        backbone: the spec of the method's backbone, image_size included.
        name: the method's name, for messages.

    Raises:
        UserError: no predecessor where one is needed, one too many, or one that does not fit.
    """
    if not method.continues:
        if folder is not None:
            raise UserError("continues no other method", where=name, mend="drop --predecessor")
        return
    if folder is None:
        mend = "give its checkpoint folder as --predecessor"
        raise UserError("continues another method", where=name, mend=mend)
    if ModelInfo.read(folder / artifacts.MODEL).backbone != dict(backbone):
        mend = f"give it the backbone of recipes.{name}, and pretrain it again"
        raise UserError("was pretrained with another backbone", where=str(folder), mend=mend)
    method.continue_from(artifacts.read_tensors(folder / artifacts.METHOD))
