"""The campaign's table, and its place in docs/reliability.md."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.faults.campaign.project import Try

BEGIN, END = "<!-- make faults: begin -->\n", "<!-- make faults: end -->\n"


def table(found: Sequence[Try]) -> str:
    """Return Markdown: a row for each fault and command."""
    rows = [
        "| fault | then | tries | same bytes | cells run again | seconds | what was wrong |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    groups: dict[tuple[str, str], list[Try]] = {}
    for one in found:
        groups.setdefault((one.fault, one.then), []).append(one)
    for (fault, then), tries in groups.items():
        cells = sorted({one.cells for one in tries})
        ran = str(cells[0]) if len(cells) == 1 else f"{cells[0]} to {cells[-1]}"
        seconds = statistics.median(one.seconds for one in tries)
        said = "; ".join(sorted({one.said for one in tries if one.said})) or "nothing"
        same = sum(one.same for one in tries)
        row = (fault, f"`{then}`", str(len(tries)), str(same), ran, f"{seconds:.0f}", said)
        rows.append("| " + " | ".join(word.replace("|", "/") for word in row) + " |")
    return "\n".join(rows) + "\n"


def write(path: Path, text: str) -> None:
    """Put a text between the two marks of a page."""
    before, rest = path.read_text().split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(before + BEGIN + text + END + after)
