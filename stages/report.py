"""Exactly the records that the grid names -> numbers.csv, leaderboard.md, index.html.

example: python -m stages.report --metrics metrics --out report
"""

import argparse
from pathlib import Path

from sslbench import lineage
from sslbench.core import artifacts, params, pipeline
from sslbench.core.errors import UserError
from stages._run import Outcome, Run, run


def describe(parser: argparse.ArgumentParser) -> None:
    """Add this stage's options."""
    parser.add_argument("--metrics", type=Path, required=True, help="folder of records")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")


def work(context: Run) -> Outcome:
    """Check every record's lineage, then write the report."""
    from sslbench.reporting.collect import collect, number_ids
    from sslbench.reporting.settings import Settings
    from sslbench.reporting.write import write_report

    settings = params.build(Settings, context.params("report"), "report")
    out = context.arguments.out
    grid = context.params("grid")
    collected = collect(context.arguments.metrics, grid, lineage.fingerprints())
    _refuse_faults()
    provenance = lineage.provenance_of(number_ids(collected))
    cells = provenance["cells"]
    by_number = {
        identifier: {"cells": [cells[name] for name in names]}
        for identifier, names in provenance["numbers"].items()
    }
    write_report(
        out,
        collected,
        interval=lambda values, images: _interval(values, images, settings.confidence),
        rank_groups=lambda values: _rank_groups(values, 1 - settings.confidence),
        provenance=by_number,
        references={},
    )
    artifacts.write_json(out / "provenance.json", provenance)
    return Outcome()


def _refuse_faults() -> None:
    faults = lineage.check(pipeline.cells(), lock=False)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(faults[0].what + more, where=faults[0].cell, mend=faults[0].mend)


def _interval(
    values: list[float], images: int | None, confidence: float
) -> tuple[float | None, float | None, str]:
    from sslbench.evaluation.statistics import summarise

    found = summarise(values, confidence=confidence, num_images=images).interval
    if found is None:
        return None, None, "none"
    over = f"{len(values)} seeds" if len(values) > 1 else "test images, one seed"
    return found.low, found.high, f"{100 * confidence:g} % {found.kind} over {over}"


def _rank_groups(values: dict[str, list[float]], alpha: float) -> dict[str, int | None]:
    from sslbench.evaluation.statistics import rank_groups

    by_seed = {method: dict(enumerate(runs)) for method, runs in values.items()}
    return rank_groups(by_seed, alpha=alpha, higher_is_better=True)


if __name__ == "__main__":
    run("report", describe, work, __doc__)
