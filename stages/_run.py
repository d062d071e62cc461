"""The frame that every stage runs in: parse, pin threads, find and hold the cell, work, record.

A stage is `arguments` (adds its options), `work` (one library call) and a line that hands both to
`run`. The frame owns what they share: the fingerprint, the record, tracking and error messages.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from sslbench.core import artifacts, pipeline, provenance, seeding
from sslbench.core import params as parameters
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell
from sslbench.core.sole_writer import sole_writer
from sslbench.tracking import journal

DEVICE = "SSLBENCH_DEVICE"
_MOST_THREADS = 1024


@dataclass
class Outcome:
    """What a stage's work hands back, besides the files it wrote.

    Attributes:
        measurements: as in the record (docs/protocols.md).
        extra: further keys of the record, such as `history` or `protocol`.
        outs: the files written, to be hashed into the record.
    """

    measurements: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    outs: list[Path] = field(default_factory=list)


@dataclass
class Run:
    """What a stage's work may use.

    Attributes:
        stage: the stage's name.
        arguments: the parsed options.
        cell: the cell of the graph, or None for a run by hand.
        fingerprint: of the cell; `adhoc:...` for a run by hand, which no report accepts.
        device: `cpu`, `cuda:0` ...
        threads: numeric threads, from params.yaml.
        deps: md5 of the cell's inputs.
        journal: where live numbers go, or None.
    """

    stage: str
    arguments: argparse.Namespace
    cell: Cell | None
    fingerprint: str
    values: Mapping[str, Any]
    device: str
    threads: int
    deps: Mapping[str, str]
    journal: journal.Journal | None = None

    def params(self, key: str) -> Any:
        """Return a slice of params.yaml that the graph declares for this stage.

        Raises:
            UserError: no such key.
            KeyError: the slice is not declared, so caching would miss its changes (a defect).
        """
        if self.cell is not None and not any(
            key == declared or key.startswith(f"{declared}.") for declared in self.cell.params
        ):
            raise KeyError(f"{self.cell.name} reads {key} but dvc.yaml does not declare it")
        return parameters.select(self.values, key)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send live numbers to the tracking journal."""
        if self.journal is not None:
            self.journal.metrics(values, step)

    @property
    def scratch(self) -> Path:
        """A git-ignored folder of this fingerprint, for what a killed run resumes from."""
        return Path(".scratch") / self.stage / self.fingerprint.replace(":", "-")


def run(
    stage: str,
    describe: Callable[[argparse.ArgumentParser], None],
    work: Callable[[Run], Outcome],
    description: str | None,
) -> None:
    """Run a stage as a command; exits 2 with one line on a person's mistake."""
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{stage}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--params", type=Path, default=Path(pipeline.PARAMS), help="params.yaml")
    describe(parser)
    parser.add_argument("--record", type=Path, help="where the cell's record (JSON) goes")
    signal.signal(signal.SIGTERM, _end)
    try:
        _execute(stage, parser.parse_args(), work)
    except UserError as error:
        sys.exit(f"sslbench {stage}: {error}")
    except KeyboardInterrupt:
        print(f"sslbench {stage}: {_AGAIN}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Terminated:
        print(f"sslbench {stage}: {_AGAIN}", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)


_AGAIN = "interrupted; run the same command again to go on"


class Terminated(BaseException):
    """A scheduler or an engine asked this process to end."""


def _end(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # clearing up is not interrupted in its turn
    raise Terminated


def _execute(stage: str, arguments: argparse.Namespace, work: Callable[[Run], Outcome]) -> None:
    started = time.perf_counter()
    values = parameters.load(arguments.params)
    cell = pipeline.find_by_arguments(stage, sys.argv[1:])
    with sole_writer(cell):
        _execute_cell(_open(stage, arguments, cell, values), work, started)


def _execute_cell(context: Run, work: Callable[[Run], Outcome], started: float) -> None:
    arguments = context.arguments
    if journal.is_enabled():
        context.journal = journal.Journal(_start_event(context))
        if context.journal.is_open:
            journal.start_recorder()
    try:
        outcome = work(context)
        record = _record(context, outcome)
        if arguments.record is not None:
            artifacts.write_json(arguments.record, record)
    except BaseException as error:
        if context.journal is not None:
            ended = isinstance(error, Terminated | KeyboardInterrupt)
            status = "KILLED" if ended else "FAILED"
            context.journal.finish(status, error=f"{type(error).__name__}: {error}")
        raise
    if context.journal is not None:
        context.journal.finish(
            "FINISHED",
            record=str(arguments.record) if arguments.record else None,
            system=_usage(started),
        )


def _open(
    stage: str, arguments: argparse.Namespace, cell: Cell | None, values: Mapping[str, Any]
) -> Run:
    threads = _threads(values, f"compute.{stage}_threads")
    seeding.pin_threads(threads)
    deps: dict[str, str] = {}
    if cell is not None:
        deps = provenance.hash_deps(cell)
        stamp = provenance.fingerprint(cell, deps=deps)
    else:
        stamp = "adhoc:" + provenance.adhoc_fingerprint(stage, sys.argv[1:], arguments.params)
    return Run(
        stage=stage,
        arguments=arguments,
        cell=cell,
        fingerprint=stamp,
        values=values,
        device=_device(stage),
        threads=threads,
        deps=deps,
    )


def _threads(values: Mapping[str, Any], key: str) -> int:
    threads = parameters.select(values, key)
    if type(threads) is not int or not 1 <= threads <= _MOST_THREADS:
        what = f"{threads!r} is no whole number from 1 to {_MOST_THREADS}"
        raise UserError(what, where=key, mend="set it to the number of cores for one stage")
    return threads


def _device(stage: str) -> str:
    """Return the device to compute on; probes and data stages never pay for torch to ask."""
    wanted = os.environ.get(DEVICE, "auto")
    if stage not in ("pretrain", "extract", "transfer") or wanted == "cpu":
        return "cpu"
    import torch

    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if not torch.cuda.is_available():
        mend = f"unset {DEVICE} or set it to cpu"
        raise UserError(f"device {wanted!r} asked for, but no CUDA device is here", mend=mend)
    return wanted if ":" in wanted else f"{wanted}:0"


def _record(context: Run, outcome: Outcome) -> dict[str, Any]:
    return {
        "fingerprint": context.fingerprint,
        "environment": provenance.environment(context.device, context.threads),
        "measurements": outcome.measurements,
        "outs": {path.as_posix(): provenance.md5(path) for path in outcome.outs},
        "per_sample": None,  # a protocol that has them overwrites it
        **outcome.extra,
    }


def _start_event(context: Run) -> dict[str, Any]:
    cell = context.cell
    keys = cell.params if cell else ()
    return {
        "cell": cell.name if cell else f"{context.stage} (by hand)",
        "stage": context.stage,
        "item": dict(cell.item) if cell else {},
        "command": cell.command if cell else " ".join(sys.argv),
        "fingerprint": context.fingerprint,
        "params": {key: parameters.select(context.values, key) for key in keys},
        "git": provenance.git_state(),
        "deps": dict(context.deps),
    }


def _usage(started: float) -> dict[str, float]:
    """Return what the run cost; these go to tracking only, never into an out."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "system/stage_wall_seconds": time.perf_counter() - started,
        "system/stage_cpu_seconds": usage.ru_utime + usage.ru_stime,
        "system/stage_peak_rss_mib": usage.ru_maxrss / 1024,
    }
