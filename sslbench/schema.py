"""A JSON schema for params.yaml, made from the very dataclasses that read it."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

SCALARS = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
}


def of(kind: type) -> dict[str, Any]:
    """Return the schema of a frozen dataclass: every key required, no other allowed."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    return closed({name: _of_hint(hints[name]) for name in names})


def closed(properties: Mapping[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Return the schema of a mapping with these keys and no others."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(properties)
    return schema


def _of_hint(hint: Any) -> dict[str, Any]:
    origin = get_origin(hint)
    if hint in SCALARS:
        return dict(SCALARS[hint])
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of_hint(option) for option in get_args(hint)]}
    if hint is type(None):
        return {"type": "null"}
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if origin in (tuple, list):
        return _of_sequence(hint)
    if dataclasses.is_dataclass(hint):
        return of(hint)  # type: ignore[arg-type]
    return {"type": "object"} if origin is dict else {}


def _of_sequence(hint: Any) -> dict[str, Any]:
    kinds = get_args(hint)
    if get_origin(hint) is tuple and kinds[-1] is not Ellipsis:
        size = len(kinds)
        return {
            "type": "array",
            "prefixItems": [_of_hint(kind) for kind in kinds],
            "minItems": size,
            "maxItems": size,
        }
    return {"type": "array", "items": _of_hint(kinds[0])}


def names(pattern: str = "^[a-z0-9_]+$") -> dict[str, Any]:
    """Return the schema of a list of distinct ids."""
    return {
        "type": "array",
        "items": {"type": "string", "pattern": pattern},
        "uniqueItems": True,
    }
