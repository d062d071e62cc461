"""report/numbers.csv: the numbers as a table that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from sslbench.core.errors import UserError
from sslbench.reporting.leaderboard import DIGITS
from sslbench.reporting.tables import Number
from sslbench.reporting.twins import TwinRow

COLUMNS = (
    "id",
    "dataset",
    "method",
    "protocol",
    "metric",
    "unit",
    "value",
    "ci_low",
    "ci_high",
    "n_seeds",
    "seeds",
    "rank_group",
    "reference",
    "reference_source",
    "fingerprints",
    "labels",
    "protocol_version",
    "better",
    "twin",
    "gain_ci_low",
    "gain_ci_high",
    "interval",
    "test",
    "told_from",
)


def csv_text(rows: Sequence[Number], beside: Sequence[TwinRow]) -> str:
    """Return the text of numbers.csv: values in the unit of each row, eight digits.

    Args:
        rows: the numbers.
        beside: those that have a twin: what random weights give, and the interval of the gain.
    """
    twins = {row.number.id: row for row in beside}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_csv_row(row, twins.get(row.id)) for row in rows)
    return buffer.getvalue()


def _csv_row(row: Number, twin: TwinRow | None) -> list[str]:
    return [
        row.id,
        row.dataset,
        row.method,
        row.protocol,
        row.metric,
        row.unit,
        digits(row.value),
        digits(row.low),
        digits(row.high),
        str(len(row.seeds)),
        ";".join(map(str, row.seeds)),
        "" if row.rank_group is None else str(row.rank_group),
        digits(row.reference),
        row.reference_source,
        ";".join(row.fingerprints),
        row.labels,
        str(row.version),
        row.better,
        *(["", "", ""] if twin is None else map(digits, (twin.twin, twin.low, twin.high))),
        row.interval,
        row.test,
        ";".join(sorted(row.told_from)),
    ]


def digits(value: float | None) -> str:
    """Return a value as text, or nothing."""
    return "" if value is None else format(value, f".{DIGITS}g")


def read_csv(path: Path) -> list[Number]:
    """Return the numbers of a report made earlier, for `make reproduce` to print.

    Raises:
        UserError: the file is absent or is not a numbers.csv.
    """
    return _restored(path)[0]


def read_twins(path: Path) -> list[TwinRow]:
    """Return the numbers of a report made earlier that have a twin, with it.

    Raises:
        UserError: the file is absent or is not a numbers.csv.
    """
    return _restored(path)[1]


def _restored(path: Path) -> tuple[list[Number], list[TwinRow]]:
    mend = "run `make reproduce`"
    try:
        text = path.read_text(encoding="utf-8")
        if not text.replace("\n", "").isprintable():
            raise ValueError("it holds signs that a terminal would obey")
        rows = list(csv.DictReader(io.StringIO(text)))
        numbers = _restored_numbers(rows)
        pairs = zip(numbers, rows, strict=True)
        return numbers, [_restored_twin(number, row) for number, row in pairs if row["twin"]]
    except FileNotFoundError:
        raise UserError("file not found", where=str(path), mend=mend) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path), mend=mend) from None
    except (csv.Error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"not a numbers.csv ({error})", where=str(path), mend=mend) from None


def _restored_twin(number: Number, row: Mapping[str, str]) -> TwinRow:
    twin = float(row["twin"])
    low, high = (_number(row[key]) for key in ("gain_ci_low", "gain_ci_high"))
    return TwinRow(number=number, twin=twin, gain=number.value - twin, low=low, high=high)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _restored_numbers(rows: Sequence[Mapping[str, str]]) -> list[Number]:
    seen: set[tuple[str, str, str]] = set()
    made: list[Number] = []
    for row in rows:
        key = (row["dataset"], row["method"], row["protocol"])
        made.append(_restored_number(row, key not in seen))
        seen.add(key)
    return made


def _restored_number(row: Mapping[str, str], is_main: bool) -> Number:
    return Number(
        dataset=row["dataset"],
        method=row["method"],
        protocol=row["protocol"],
        metric=row["metric"],
        unit=row["unit"],
        value=float(row["value"]),
        low=_number(row["ci_low"]),
        high=_number(row["ci_high"]),
        interval=row["interval"],
        seeds=tuple(int(seed) for seed in row["seeds"].split(";")),
        values=(),
        samples=None,
        rank_group=int(row["rank_group"]) if row["rank_group"] else None,
        reference=_number(row["reference"]),
        reference_source=row["reference_source"],
        fingerprints=tuple(row["fingerprints"].split(";")),
        is_main=is_main,
        labels=row["labels"],
        version=int(row["protocol_version"]),
        better=row["better"],
        test=row["test"],
        told_from=frozenset(filter(None, row["told_from"].split(";"))),
    )
