"""Networks by name; each builder returns a Backbone with .feature_dim and named layers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sslbench.backbones.base import Backbone


def families() -> list[str]:
    """Return the families of backbones, found by listing this folder."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [
        file.stem
        for file in files
        if file.stem not in ("__init__", "base", "colour_space", "model_info", "residual")
    ]


def build(spec: Mapping[str, Any]) -> Backbone:
    """Return a freshly initialised backbone; weights come from torch's global generator.

    Args:
        spec: `family` and the arguments of that family's `build`, `image_size` (pixels) included.

    Raises:
        UserError: unknown family, missing or unknown key, or a value the family does not offer.
    """
    family = spec.get("family")
    if family not in families():
        known = ", ".join(families())
        raise UserError(f"unknown family {family!r}", where="backbone", mend=f"known: {known}")
    builder = importlib.import_module(f"sslbench.backbones.{family}").build
    rest = {name: value for name, value in spec.items() if name != "family"}
    _refuse_keys(builder, rest, f"backbone ({family})")
    try:
        backbone: Backbone = builder(**rest)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        mend = "see conf/recipes for values that there are"
        raise UserError(
            f"cannot be built ({said})", where=f"backbone ({family})", mend=mend
        ) from None
    return backbone


def _refuse_keys(builder: Callable[..., Backbone], given: Mapping[str, Any], where: str) -> None:
    known = inspect.signature(builder).parameters
    if unknown := [name for name in given if name not in known]:
        mend = "known: " + ", ".join(known)
        raise UserError(f"unknown key {unknown[0]!r}", where=where, mend=mend)
    required = [name for name, item in known.items() if item.default is inspect.Parameter.empty]
    if missing := [name for name in required if name not in given]:
        mend = "needed: " + ", ".join(required)
        raise UserError(f"missing key {missing[0]!r}", where=where, mend=mend)
