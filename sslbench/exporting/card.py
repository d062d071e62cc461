"""The card of an exported backbone: what it is, how it was made, and every number it reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslbench import lineage
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import params, pipeline, provenance, records
from sslbench.core.pipeline import Cell

FORMAT = 1
NAME = "model_card"
_EVALUATIONS = ("probe", "transfer", "dense", "video")


def facts(cell: Cell, info: ModelInfo, form: str, root: Path = Path()) -> dict[str, Any]:
    """Return the card as plain data.

    Args:
        cell: the pretraining cell.
        info: the checkpoint's description.
        form: the format's name.
        root: the project's root.
    """
    values = params.load(root / pipeline.PARAMS)
    told = [lineage.describe(step, values, root) for step in pipeline.ancestors(cell, root)]
    for step in told:
        step["introduced_by_commit"] = provenance.commit_of(step, root)
    return {
        "format": FORMAT,
        "export_format": form,
        "method": cell.item["method"],
        "seed": cell.item["seed"],
        "source": values["grid"]["source"],
        "labels": info.labels,
        "backbone": info.backbone,
        "feature_dim": info.feature_dim,
        "input": {"size": info.size, "mean": list(info.mean), "std": list(info.std)},
        "fingerprint": told[-1]["fingerprint"],
        "git": provenance.git_state(root),
        "trace": told,
        "numbers": _numbers(cell, root),
    }


def _numbers(cell: Cell, root: Path) -> list[dict[str, Any]]:
    """Return the headline numbers of this seed that are on disk and stand on today's inputs."""
    rows = []
    for other in pipeline.cells(root):
        if other.stage not in _EVALUATIONS or not _is_of(cell, other):
            continue
        if other.record is None or not (root / other.record).exists():
            continue
        record = records.read(root / other.record)
        if record.get("fingerprint") != provenance.fingerprint(other, root):
            continue
        rows += [_row(other, record, measured) for measured in _headlines(record)]
    return rows


def _is_of(cell: Cell, other: Cell) -> bool:
    return all(other.item[axis] == cell.item[axis] for axis in ("method", "seed"))


def _headlines(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        row for row in record.get("measurements", ()) if row.get("role", "headline") == "headline"
    ]


def _row(cell: Cell, record: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    identifier = "/".join(
        str(cell.item[axis]) for axis in ("dataset", "method", "protocol")
    )  # fmt: skip
    return {
        "id": f"{identifier}/{measured['metric']}",
        "value": measured["value"],
        "unit": measured["unit"],
        "split": measured.get("split"),
        "n": measured.get("n"),
        "fingerprint": record["fingerprint"],
    }


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown, with the front matter that model hubs read.

    Args:
        card: what `facts` returned, with `files` (name -> sha256) and `check`.
    """
    trained, check = card["trace"][-1], card["check"]
    environment = trained["environment"]
    size = card["input"]["size"]
    lines = [
        "---",
        f"library_name: {card['export_format']}",
        "tags: [self-supervised, feature-extraction, sslbench]",
        "---",
        "",
        f"# {card['method']}, pretrained on {card['source']}, seed {card['seed']}",
        "",
        f"A backbone without a classifier: images of {size} x {size} px to {card['feature_dim']}"
        f" features. Labels seen in training: {card['labels']}.",
        "",
        "`load.py` builds it, `python features.py IMAGE...` shows how images are prepared: scaled"
        f" to [0, 1], less mean {_rounded(card['input']['mean'])}, over std"
        f" {_rounded(card['input']['std'])}.",
        "",
        f"Loaded in a clean process, its features of {check['images']} images differ from the"
        f" checkpoint's by at most {check['largest_difference']:.1e}.",
        "",
        *(f"- sha256 `{digest}` {name}" for name, digest in card["files"].items()),
        "",
        "## Where it comes from",
        "",
        f"- fingerprint `{card['fingerprint']}`",
        f"- commit `{trained['introduced_by_commit'] or card['git']['commit']}`",
        f"- command `{trained['command']}`",
        f"- {_plain(environment.get('processor'))}, {environment.get('threads')} thread(s), Python"
        f" {environment.get('python')}, torch {environment.get('versions', {}).get('torch')},"
        f" lock `{environment.get('lock_md5')}`",
        *(f"- reads `{md5}` {path}" for path, md5 in trained["deps"].items() if "/" in path),
        "",
        "The steps before it, with parameters and every hash, stand in model_card.json.",
        "",
        *_table(card["numbers"]),
        "## Limits",
        "",
        "One seed of a benchmark under a small budget: a figure of a method, not a model for use."
        " It knows the images it was pretrained on, and their biases.",
        "",
    ]
    return "\n".join(lines)


def _table(numbers: list[dict[str, Any]]) -> list[str]:
    if not numbers:
        return []
    return [
        "## What it reached",
        "",
        "This seed alone; the report has means and intervals over seeds.",
        "",
        "| number | value | unit | split | n |",
        "| --- | ---: | --- | --- | ---: |",
        *(
            f"| {row['id']} | {row['value']:.4g} | {row['unit']} | {row['split']}"
            f" | {_plain(row['n'])} |"
            for row in numbers
        ),
        "",
    ]


def _plain(value: Any) -> str:
    """Return a record's text as Markdown that shows it, not one that it would be."""
    return re.sub(r"([\\`*_\[\]()|<>#!&])", r"\\\1", " ".join(str(value).split()))


def _rounded(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"
