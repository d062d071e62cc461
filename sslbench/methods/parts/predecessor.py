"""A part of a method's saved state, copied into a module of the method that continues it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sslbench.core.errors import UserError


def load_part(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Load a module's whole state from `<prefix>.<name>`; other tensors are left alone.

    Raises:
        UserError: a tensor is missing or has another shape.
    """
    state = {}
    for name, own in module.state_dict().items():
        found = tensors.get(f"{prefix}.{name}")
        if found is None:
            mend = "check `predecessor` in the method's recipe"
            raise UserError(f"has no {prefix}.{name}", where="predecessor", mend=mend)
        if found.shape != own.shape:
            what = f"{prefix}.{name} is {tuple(found.shape)}, here it is {tuple(own.shape)}"
            raise UserError(what, where="predecessor", mend="give both methods the same widths")
        state[name] = found
    module.load_state_dict(state)
