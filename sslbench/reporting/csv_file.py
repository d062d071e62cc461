"""report/numbers.csv: the numbers as a table that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from sslbench.core.errors import UserError
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
        _digits(row.value),
        _digits(row.low),
        _digits(row.high),
        str(len(row.seeds)),
        ";".join(map(str, row.seeds)),
        "" if row.rank_group is None else str(row.rank_group),
        _digits(row.reference),
        row.reference_source,
        ";".join(row.fingerprints),
        row.labels,
        str(row.version),
        row.better,
        *(["", "", ""] if twin is None else map(_digits, (twin.twin, twin.low, twin.high))),
        row.interval,
        row.test,
    ]


def _digits(value: float | None) -> str:
    return "" if value is None else format(value, ".8g")


def read_csv(path: Path) -> list[Number]:
    """Return the numbers of a report made earlier, for `make reproduce` to print.

    Raises:
        UserError: the file is absent or is not a numbers.csv.
    """
    mend = "run `make reproduce`"
    try:
        text = path.read_text(encoding="utf-8")
        if not text.replace("\n", "").isprintable():
            raise ValueError("it holds signs that a terminal would obey")
        return _restored(list(csv.DictReader(io.StringIO(text))))
    except FileNotFoundError:
        raise UserError("file not found", where=str(path), mend=mend) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path), mend=mend) from None
    except (csv.Error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"not a numbers.csv ({error})", where=str(path), mend=mend) from None


def _restored(rows: Sequence[Mapping[str, str]]) -> list[Number]:
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
        low=float(row["ci_low"]) if row["ci_low"] else None,
        high=float(row["ci_high"]) if row["ci_high"] else None,
        interval=row["interval"],
        seeds=tuple(int(seed) for seed in row["seeds"].split(";")),
        values=(),
        samples=None,
        rank_group=int(row["rank_group"]) if row["rank_group"] else None,
        reference=float(row["reference"]) if row["reference"] else None,
        reference_source=row["reference_source"],
        fingerprints=tuple(row["fingerprints"].split(";")),
        is_main=is_main,
        labels=row["labels"],
        version=int(row["protocol_version"]),
        better=row["better"],
        test=row["test"],
        told_from=frozenset(),
    )
