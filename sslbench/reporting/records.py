"""What a cell's record holds, and when it is sound (docs/protocols.md has the format)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sslbench.core import per_sample
from sslbench.core import records as shape
from sslbench.core.records import is_finite

PREPARE, PRETRAIN, EXTRACT = "prepare", "pretrain", "extract"
# Endings of the headlines beside a metric that was measured at each epoch.
ON_VAL, ON_TEST = "_best_val_epoch", "_best_test_epoch"
BEST_EPOCHS = (ON_VAL, ON_TEST)
_WAYS = ("higher", "lower", "neither")
_ROUNDING = 1e-5  # of a mean over samples that were stored as float32
# Part of a number's id, which slashes divide.
_METRIC = re.compile(r"[a-z0-9_]+")


def headlines(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the measurements that are results; the first is the main one."""
    return _of_role(record, "headline")


def layers(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the measurements of single layers."""
    return _of_role(record, "layer")


def twins(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the measurements of the same protocol on random weights."""
    return _of_role(record, "twin")


def epochs(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the measurements at single epochs of pretraining, the last one at the end."""
    return _of_role(record, "epoch")


def with_main(record: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    """Return the record with its headline of a metric first, where it has one.

    A protocol puts its own main metric first; a data set may be reported by another
    (mean_per_class of Oxford Pets), which its prepare record names.
    """
    measured = record["measurements"]
    own = [entry for entry in headlines(record) if entry["metric"] == metric]
    return {**record, "measurements": own + [entry for entry in measured if entry not in own]}


def _of_role(record: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    return [entry for entry in record["measurements"] if entry.get("role", "headline") == role]


def samples_of(record: Mapping[str, Any], metric: str) -> np.ndarray | None:
    """Return (num_samples,) results whose mean is the metric's value, or None if not kept."""
    kept = record["per_sample"]
    return per_sample.decode(kept) if kept and kept["metric"] == metric else None


def standard_error_of(entry: Mapping[str, Any]) -> float | None:
    """Return a value's standard error over test samples, where its protocol measured one."""
    found: float | None = entry.get("standard_error")
    return found


def draws_of(record: Mapping[str, Any]) -> Sequence[float]:
    """Return the values whose mean `drawn(record)` is, one per draw; empty without draws."""
    return _draws(drawn(record))


def drawn(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first headline that is a mean over draws; without any, the main one."""
    found = headlines(record)
    return next((entry for entry in found if _draws(entry)), found[0])


def _draws(entry: Mapping[str, Any]) -> Sequence[float]:
    found: Sequence[float] = (entry.get("detail") or {}).get("draws", ())
    return found


def columns_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all records of one protocol on one data set have in common, verb -> object.

    Two numbers share a column only if all of it is equal.
    """
    kept = record["per_sample"]
    return {
        "measures": [str(entry["metric"]) for entry in headlines(record)],
        "has twins of": [str(entry["metric"]) for entry in twins(record)],
        "is measured on": [f"{e.get('n')} of {e.get('split')}" for e in headlines(record)],
        "gives": [f"{entry['unit']}, better {entry['better']}" for entry in headlines(record)],
        "comes from": f"{record['protocol']['name']} v{record['protocol']['version']}",
        "keeps": f"{kept['n']} results of {kept['metric']}" if kept else "no results of samples",
        "is the mean of": f"{len(draws_of(record)) or 1} draws",
    }


def fault(protocol: str, record: Mapping[str, Any]) -> str:
    """Return what is wrong with a record's content, or nothing."""
    if what := shape.fault(record):
        return what
    if protocol == PRETRAIN:
        return _pretraining_fault(record)
    if protocol == PREPARE:
        return "" if _METRIC.fullmatch(str(record.get("metric", "top1"))) else "a strange metric"
    if protocol == EXTRACT:
        return ""
    return _measured_fault(protocol, record)


def _measured_fault(protocol: str, record: Mapping[str, Any]) -> str:
    if what := _values_fault(record.get("measurements", [{}])):
        return what
    if "per_sample" not in record:
        return "it does not say whether it has results of samples"
    names = [str(entry["metric"]) for entry in headlines(record)]
    if not names or len(set(names)) < len(names):
        return "no headline measurement, or two of one metric"
    beside = [str(entry["metric"]) for entry in twins(record)]
    if len(set(beside)) < len(beside):
        return "two twins of one metric"
    single = {str(entry["metric"]) for entry in layers(record)}
    if single and not single & set(names):
        return "its layers were measured by no metric that it reports"
    if not all(map(_METRIC.fullmatch, names)):
        return "the name of a metric is not of a-z, 0-9 and _"
    if not _is_made_by(protocol, record.get("protocol")):
        return f"its protocol is not {protocol} with a version"
    found = _test_fault(record) or _errors_fault(record) or _epochs_fault(record, names)
    return found or _mean_fault(record)


def _values_fault(measurements: Sequence[Mapping[str, Any]]) -> str:
    """Return which measurement has no way that is better or is no share of one, or nothing."""
    for entry in measurements:
        if entry.get("better") not in _WAYS:
            return "a measurement lacks a metric, a unit, a finite value or which way is better"
        if entry["unit"] == "fraction" and not 0 <= entry["value"] <= 1:
            return f"its {entry['metric']} is {entry['value']}, and no fraction of one"
    return ""


def _test_fault(record: Mapping[str, Any]) -> str:
    """Return what is wrong with how the test split was read, or nothing."""
    if any(entry.get("split") != "test" for entry in headlines(record)):
        return "a headline was not measured on test"
    reads = record.get("test_reads")
    if not isinstance(reads, list) or len(reads) != 1:
        return f"test was opened {len(reads or ())} times, and once is allowed"
    return ""


def _errors_fault(record: Mapping[str, Any]) -> str:
    """Return which standard error is none, or nothing."""
    for entry in headlines(record):
        error = standard_error_of(entry)
        if error is not None and not (is_finite(error) and error >= 0):
            return f"the standard error of {entry['metric']} is {error!r}"
    return ""


def _epochs_fault(record: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return what is wrong with measurements at single epochs, or nothing."""
    found = epochs(record)
    wanted = {str(entry["metric"]) + end for entry in found for end in ("", *BEST_EPOCHS)}
    if missing := sorted(wanted - set(names)):
        return f"its epochs were measured, and there is no {missing[0]}"
    best = [entry for entry in headlines(record) if str(entry["metric"]).endswith(BEST_EPOCHS)]
    if all(map(_tells_epoch, [*found, *best])):
        return ""
    return "a measurement at an epoch does not say which"


def _tells_epoch(entry: Mapping[str, Any]) -> bool:
    detail = entry.get("detail")
    if not isinstance(detail, dict) or "epoch" not in detail:
        return False
    epoch = detail["epoch"]
    return epoch is None or (type(epoch) is int and epoch > 0)


def _is_made_by(protocol: str, maker: Any) -> bool:
    named = isinstance(maker, dict) and maker.get("name") == protocol
    return named and type(maker.get("version")) is int


def _mean_fault(record: Mapping[str, Any]) -> str:
    """Return which of the parts that a value is the mean of do not make it up."""
    for entry in headlines(record):
        draws = _draws(entry)
        if not isinstance(draws, list | tuple) or not all(map(is_finite, draws)):
            return "its draws are not numbers"
        if draws and not _is_mean(draws, entry["value"]):
            return f"the mean of its draws is not {entry['metric']}"
    if (kept := record.get("per_sample")) is None:
        return ""
    values = {entry["metric"]: entry["value"] for entry in headlines(record)}
    try:
        metric, samples = kept["metric"], per_sample.decode(kept)
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError) as error:
        return f"its results of samples are not readable ({error})"
    if (
        not isinstance(metric, str)
        or metric not in values
        or not len(samples)
        or not _is_mean(samples, values[metric])
    ):
        return f"the mean of its results of samples is not {metric}"
    return ""


def _is_mean(parts: Sequence[float] | np.ndarray, value: float) -> bool:
    return abs(float(np.mean(parts, dtype=np.float64)) - value) <= _ROUNDING * max(1.0, abs(value))


def _pretraining_fault(record: Mapping[str, Any]) -> str:
    if "history" not in record:
        return "no history in it"
    return "" if "labels" in record else "it does not say how many labels were seen"
