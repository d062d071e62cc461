"""Exactly the records that the grid names -> numbers.csv, leaderboard.md, index.html.

example: python -m stages.report --metrics metrics --out report
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench import lineage
from sslbench.core import artifacts, params, pipeline
from sslbench.core.errors import UserError
from stages._run import Outcome, Run, run

if TYPE_CHECKING:
    import numpy as np

    from sslbench.reporting.inference import Inference


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
        _inference(settings.confidence),
        provenance=by_number,
        references={entry.id: (entry.value, entry.source) for entry in settings.published},
    )
    artifacts.write_json(out / "provenance.json", provenance)
    return Outcome()


def _refuse_faults() -> None:
    faults = lineage.check(pipeline.cells(), lock=False)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(faults[0].what + more, where=faults[0].cell, mend=faults[0].mend)


def _inference(confidence: float) -> Inference:
    """Return the statistics of the report at one level."""
    from sslbench.evaluation.statistics.blocks import average_ranks
    from sslbench.evaluation.statistics.components import variance_components
    from sslbench.evaluation.statistics.intervals import interval_of
    from sslbench.evaluation.statistics.ranking import rank_groups, told_from
    from sslbench.reporting.inference import Inference

    alpha = 1 - confidence

    def interval(
        values: Sequence[float],
        samples: np.ndarray | None,
        standard_error: float | None = None,
    ) -> tuple[float | None, float | None, str]:
        found = interval_of(values, samples, confidence, standard_error)
        if found is None:
            return None, None, "none"
        return found.low, found.high, f"{100 * confidence:g} % {found.kind} over {found.over}"

    return Inference(
        interval=interval,
        ranking=lambda values, samples, higher: rank_groups(
            values, samples, alpha=alpha, higher_is_better=higher
        ),
        told_from=lambda name, values, samples: told_from(name, values, samples, alpha=alpha),
        average_ranks=lambda scores: average_ranks(scores, alpha),
        components=variance_components,
    )


if __name__ == "__main__":
    run("report", describe, work, __doc__)
