"""params.yaml -> frozen dataclasses, strictly: unknown key, missing key and wrong type are errors.

Numbers live in params.yaml and only there, so the dataclasses have no defaults; a field typed
`X | None` still has to be written (as null).
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml

from sslbench.core.errors import UserError

T = TypeVar("T")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads 1e-3 as a number, as DVC (YAML 1.2) does; plain PyYAML reads it as text."""


# A file far beyond these is no file of ours: deep nesting overflows the C parser's stack, and a few
# aliases of aliases can stand for more values than fit into memory.
_MAX_DEPTH = 100
_MAX_VALUES = 5_000_000
_PLAIN = (str, bool, int, float, type(None))

_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def load(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, numbers such as 1e-3 included.

    Raises:
        UserError: the file is absent, not YAML, not a mapping, or holds what JSON cannot.
    """
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        mend = "run `sslbench compose default`, or run from the project's root"
        raise UserError("file not found", where=str(path), mend=mend) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from None
    # A number or date that cannot be is a ValueError of Python's own, as is text that is not UTF-8.
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"not valid YAML ({error})", where=str(path)) from None
    if not isinstance(content, dict):
        raise UserError("holds no mapping at the top", where=str(path))
    return content


def parse(text: str) -> Any:
    """Return the content of a YAML text: mappings by text, lists, texts, numbers, booleans, null.

    Raises:
        yaml.YAMLError: not YAML, tags included.
        ValueError: too deep or too large, or a value of another kind, such as a date.
    """
    _refuse_bomb(text)
    content = yaml.load(text, Loader=_Loader)
    _refuse_kinds(content)
    return content


def _refuse_bomb(text: str) -> None:
    sizes: dict[str | None, int] = {}  # anchor -> how many values it stands for
    unfinished: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor, _MAX_VALUES)  # not known: it holds itself
        elif isinstance(event, yaml.CollectionStartEvent):
            unfinished.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = unfinished.pop()
            sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            sizes[event.anchor] = 1
            count += 1
        if len(unfinished) > _MAX_DEPTH:
            raise ValueError(f"nested more than {_MAX_DEPTH} deep")
        if count >= _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES} values, aliases counted")


def _refuse_kinds(value: Any) -> None:
    """Refuse what would be no JSON: parameters are hashed and recorded as such."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"key {key!r} is no text; put it in quotes")
            _refuse_kinds(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_kinds(inner)
    elif not isinstance(value, _PLAIN):
        raise ValueError(f"{value!r} is a {type(value).__name__}; put it in quotes")


def select(params: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key, such as `methods.simclr`.

    Raises:
        UserError: no such key; the message lists the keys there are.
    """
    value: Any = params
    seen: list[str] = []
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else "no keys"
            where = ".".join(seen) or "the top"
            raise UserError(f"no key {key!r}", where="params.yaml", mend=f"at {where}: {there}")
        value = value[part]
        seen.append(part)
    return value


def build(kind: type[T], values: Any, where: str) -> T:
    """Return a frozen dataclass from a mapping, every field checked, nested ones too.

    Args:
        kind: the dataclass.
        values: what the YAML holds.
        where: the key's path, for messages, such as `methods.simclr`.

    Raises:
        UserError: unknown or missing key, wrong type, or a value the class itself refuses.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"expected a mapping, found {values!r}", where=where)
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    _refuse_keys(values, names, where)
    made = {name: _convert(hints[name], values[name], f"{where}.{name}") for name in names}
    try:
        return kind(**made)
    except ValueError as error:
        raise UserError(str(error), where=where) from None


def _refuse_keys(values: Mapping[str, Any], names: list[str], where: str) -> None:
    if unknown := [key for key in values if key not in names]:
        raise UserError(
            f"unknown key {unknown[0]!r}", where=where, mend="known: " + ", ".join(names)
        )
    if missing := [name for name in names if name not in values]:
        raise UserError(
            f"missing key {missing[0]!r}", where=where, mend="write it in conf/ and compose"
        )


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, where)
    if origin is typing.Literal:
        if value not in get_args(hint):
            raise UserError(f"{value!r} is not one of {list(get_args(hint))}", where=where)
        return value
    if origin in (tuple, list):
        return _convert_sequence(hint, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"expected a mapping, found {value!r}", where=where)
        return dict(value)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where)


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    options = get_args(hint)
    if value is None and type(None) in options:
        return None
    inner = [option for option in options if option is not type(None)]
    return _convert(inner[0], value, where)


def _convert_sequence(hint: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise UserError(f"expected a list, found {value!r}", where=where)
    kinds = get_args(hint)
    if kinds and kinds[-1] is not Ellipsis and get_origin(hint) is tuple:
        if len(kinds) != len(value):
            raise UserError(f"expected {len(kinds)} values, found {len(value)}", where=where)
        pairs = zip(kinds, value, strict=True)
    else:
        pairs = ((kinds[0], item) for item in value)  # type: ignore[assignment]
    made = [_convert(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(pairs)]
    return tuple(made) if get_origin(hint) is tuple else made


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _as_float(value, where)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"expected {hint.__name__}, found {value!r}", where=where)
    return value


def _as_float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise UserError("a number too large for a float", where=where) from None
