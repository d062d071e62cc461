"""conf/ -> params.yaml: a preset's files merged, comments kept, pruned to what the grid names."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarfloat import ScalarFloat

from sslbench.core import params
from sslbench.core.errors import UserError
from sslbench.core.pipeline import EVALUATIONS

CONF = Path("conf")
ORDER = ("grid", "compute", "data", "pretrain", "recipes", "methods", "extract", "probe")
HEADER = """\
# Composed by `sslbench compose {words}`; edit conf/ and compose again, or edit here for an
# experiment of your own. Both engines read this file and nothing else; each stage depends only on
# the keys that dvc.yaml names for it.
"""
BY_EPOCH = "knn_by_epoch"  # the protocol that reads what pretrain.keep_every_epochs keeps
_REFERENCE = re.compile(r"as ([a-z0-9_.]+)")
_INCLUDED = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")
# Section -> the axes of the grid that say which of its blocks are kept.
PRUNED = {
    "data": ("datasets",),
    "recipes": ("methods",),
    "methods": ("methods",),
    "probe": ("probes",),
    "transfer": ("transfers", "dense_transfers", "video_transfers"),
}


def presets(conf: Path = CONF) -> list[str]:
    """Return the names of the presets: the YAML files directly in conf/."""
    return sorted(path.stem for path in conf.glob("*.yaml"))


def compose(preset: str, changes: Sequence[str] = (), conf: Path = CONF) -> str:
    """Return the text of params.yaml for a preset and `key=value` changes.

    Raises:
        UserError: unknown preset, a change of a key that is not there, or a broken file.
    """
    merged = _merged(preset, changes, conf)
    _look_up(merged, merged)
    _complete_grid(merged)
    _refuse_forgotten_epochs(merged)
    _prune(merged)
    ordered = CommentedMap()
    for key in [*(k for k in ORDER if k in merged), *(k for k in merged if k not in ORDER)]:
        ordered[key] = merged[key]
    # One line: what follows a line break would be no comment any more.
    words = " ".join([preset, *(f"--set {' '.join(change.split())}" for change in changes)])
    return HEADER.format(words=words) + _dump(ordered)


def ancestry(method: str, preset: str, conf: Path = CONF) -> list[str]:
    """Return the methods that a method continues in a preset, oldest first, and itself."""
    recipes = _merged(preset, (), conf)["recipes"]
    found: list[str] = [method]
    while before := recipes.get(found[0], {}).get("predecessor"):
        found.insert(0, before)
    return found


def _merged(preset: str, changes: Sequence[str], conf: Path) -> CommentedMap:
    if preset not in presets(conf):
        known = ", ".join(presets(conf))
        raise UserError(f"unknown preset {preset!r}", where=str(conf), mend=f"known: {known}")
    merged = CommentedMap()
    _merge_file(merged, conf / f"{preset}.yaml", conf)
    for change in changes:
        _apply(merged, change)
    return merged


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.width = 4096  # a wrapped list would part from its comment
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda *_: True
    for kind in (float, ScalarFloat):
        yaml.representer.add_representer(kind, _represent_float)
    return yaml


def _represent_float(representer: Any, value: float) -> Any:
    """Write 1e-4 as 1.0e-4: Snakemake's reader (YAML 1.1) takes the short form for text."""
    mantissa, letter, exponent = repr(float(value)).partition("e")
    text = f"{mantissa if '.' in mantissa else mantissa + '.0'}{letter}{exponent}"
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


def _dump(content: CommentedMap) -> str:
    stream = io.StringIO()
    for key, value in content.items():
        stream.write("\n")
        _yaml().dump(CommentedMap({key: value}), stream)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _load(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
        params.parse(text)  # refuses tags, and what would fill the memory
        content = _yaml().load(text)
    except OSError:
        raise UserError("file not found", where=str(path), mend="see conf/") from None
    except (YAMLError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"not valid YAML ({error})", where=str(path)) from None
    if not isinstance(content, CommentedMap):
        raise UserError("holds no mapping at the top", where=str(path))
    return _unshared(content)


def _unshared(node: CommentedMap) -> CommentedMap:
    """Give each alias a copy of its own; or an edit of one block would edit them all."""
    for key, value in node.items():
        if isinstance(value, CommentedMap):
            node[key] = _unshared(copy.deepcopy(value))
    return node


def _merge_file(
    merged: CommentedMap, path: Path, conf: Path, included_by: tuple[Path, ...] = ()
) -> None:
    """Merge what a file includes, in order, then the file itself."""
    if path in included_by:
        raise UserError("includes itself", where=str(path), mend="break the circle of `include`")
    content = _load(path)
    for name in _included(content, path):
        _merge_file(merged, conf / f"{name}.yaml", conf, (*included_by, path))
    section = CommentedMap({"data": content}) if path.parent.name == "data" else content
    _merge(merged, section)


def _included(content: CommentedMap, path: Path) -> list[str]:
    names = content.pop("include", [])
    if not isinstance(names, list) or not all(
        isinstance(name, str) and _INCLUDED.fullmatch(name) for name in names
    ):
        mend = "list files below conf/ without .yaml, such as parts/common"
        raise UserError(f"include: {names!r}", where=str(path), mend=mend)
    return list(names)


def _merge(base: CommentedMap, over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), CommentedMap):
            # A block of another kind replaces; a block of the same kind is edited.
            if "kind" in value or "family" in value or "name" in value:
                _replace(base, key, value, over)
            else:
                _merge(base[key], value)
        else:
            _replace(base, key, value, over)


def _replace(base: CommentedMap, key: str, value: Any, over: Mapping[str, Any]) -> None:
    """Set a value and its own comment: that of the value before gives another source."""
    base[key] = value
    base.ca.items.pop(key, None)
    if isinstance(over, CommentedMap) and key in over.ca.items:
        base.ca.items[key] = over.ca.items[key]


def _apply(merged: CommentedMap, change: str) -> None:
    key, separator, text = change.partition("=")
    if not separator:
        raise UserError(f"{change!r} is not key=value", where="--set")
    parts = key.split(".")
    node: Any = merged
    for part in parts[:-1]:
        node = node.get(part) if isinstance(node, CommentedMap) else None
    if not isinstance(node, CommentedMap) or parts[-1] not in node:
        raise UserError(f"no key {key!r}", where="--set", mend="see params.yaml for the keys")
    try:
        params.parse(text)
        value = YAML(typ="safe").load(text)
        value = CommentedMap(value) if isinstance(value, dict) else value
    except (YAMLError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{text!r} is not YAML ({error})", where=f"--set {key}") from None
    _replace(node, parts[-1], value, {})


def _complete_grid(merged: CommentedMap) -> None:
    """Write down what DVC cannot derive: data sets, and which methods continue which others."""
    _refuse_shape(merged)
    grid = merged["grid"]
    targets = [dataset for axis in EVALUATIONS for dataset in grid[axis]]
    grid["datasets"] = list(dict.fromkeys([grid["source"], *targets]))
    pairs = _predecessors(merged)
    grid["roots"] = [method for method in grid["methods"] if method not in pairs]
    grid["successors"] = {
        f"{method}-{seed}": {"method": method, "predecessor": before, "seed": seed}
        for method, before in pairs.items()
        for seed in grid["seeds"]
    }


def _refuse_shape(merged: CommentedMap) -> None:
    """Refuse a grid whose axes are no lists of names: the schema looks at the finished file."""
    grid = merged.get("grid")
    axes = ("methods", "seeds", *(a for pair in EVALUATIONS.items() for a in (pair[0], *pair[1])))
    if not isinstance(grid, CommentedMap) or not isinstance(grid.get("source"), str):
        raise UserError("no grid with a source", where="conf/", mend="see conf/parts/common.yaml")
    for axis in axes:
        values = grid.get(axis)
        kind = int if axis == "seeds" else str
        if not isinstance(values, list) or not all(isinstance(item, kind) for item in values):
            what = f"{values!r} is no list of {'numbers' if kind is int else 'names'}"
            raise UserError(what, where=f"grid.{axis}", mend="write it as [a, b]")
    for section in ("recipes", *PRUNED):
        if not isinstance(merged.get(section, {}), dict):
            raise UserError("is no mapping", where=section, mend="see params.yaml")


def _look_up(node: CommentedMap, merged: CommentedMap) -> None:
    """Replace each `as other.key` by the other's value, so that a number has one home in conf/."""
    for key, value in node.items():
        if isinstance(value, CommentedMap):
            _look_up(value, merged)
        elif isinstance(value, str) and (named := _REFERENCE.fullmatch(value)):
            found = params.select(merged, named.group(1))
            node[key] = copy.deepcopy(found)


def _refuse_forgotten_epochs(merged: CommentedMap) -> None:
    """Say so now: the cells that follow training would only find out once it is over."""
    pretrain = merged.get("pretrain", {})
    keeps = isinstance(pretrain, dict) and pretrain.get("keep_every_epochs") is not None
    if BY_EPOCH in merged["grid"]["transfers"] and not keeps:
        mend = "--set pretrain.keep_every_epochs=1"
        raise UserError(f"{BY_EPOCH} needs earlier epochs", where="grid.transfers", mend=mend)


def _predecessors(merged: CommentedMap) -> dict[str, str]:
    """Take `predecessor` out of the recipes of the grid's methods: {method: predecessor}."""
    methods = merged["grid"]["methods"]
    blocks = merged.get("recipes", {})
    recipes = [(method, blocks.get(method)) for method in methods]
    recipes = [(method, block) for method, block in recipes if isinstance(block, dict)]
    pairs = {m: recipe.pop("predecessor") for m, recipe in recipes if "predecessor" in recipe}
    for method, before in pairs.items():
        if before not in methods:
            mend = f"add {before}, or leave out {method}"
            raise UserError(f"{method} continues {before}", where="grid.methods", mend=mend)
    return pairs


def _prune(merged: CommentedMap) -> None:
    for section, axes in PRUNED.items():
        wanted = list(dict.fromkeys(name for axis in axes for name in merged["grid"][axis]))
        there = merged.get(section, CommentedMap())
        if missing := [name for name in wanted if name not in there]:
            mend = f"known: {', '.join(there)}"
            raise UserError(f"no block {section}.{missing[0]}", where="conf/", mend=mend)
        merged[section] = CommentedMap({name: there[name] for name in wanted})
