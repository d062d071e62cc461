"""The sslbench command: compose, list, trace, verify, mend, export, publish, prune, doctor."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from sslbench.core.errors import UserError

# Command -> what it is for; each is a module in sslbench/commands with `describe` and `execute`.
COMMANDS = {
    "compose": "conf/ -> params.yaml",
    "methods": "the methods there are",
    "protocols": "the evaluation protocols there are",
    "datasets": "the data sets there are",
    "trace": "the whole ancestry of one number",
    "verify": "re-hash artifacts and check lineage, or recompute a number",
    "export": "a backbone for torchvision, timm, ONNX or as safetensors, with its card",
    "publish": "make the MLflow store reflect the artifacts on disk",
    "leaderboard": "print the report's table",
    "mend": "put right what a crash or a bad disk left, so that the next run goes on",
    "prune": "remove records that the grid no longer names",
    "sync": "make one engine accept what the other one made",
    "doctor": "what is wrong with this machine or checkout, and how to mend it",
    "docs": "write the generated pages and schemas",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; a person's mistake ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="sslbench",
        description="Self-supervised vision methods under one budget, every number traceable.",
        epilog="example: sslbench compose smoke",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    words = list(sys.argv[1:] if argv is None else argv)
    for name, purpose in COMMANDS.items():
        # Only the command that was asked for is imported: `--help` stays fast.
        wanted = bool(words) and words[0] == name
        module = importlib.import_module(f"sslbench.commands.{name}") if wanted else None
        sub = commands.add_parser(
            name,
            help=purpose,
            description=module.__doc__ if module else purpose,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if module is not None:
            module.describe(sub)
            sub.set_defaults(execute=module.execute)
    arguments = parser.parse_args(words)
    try:
        sys.exit(arguments.execute(arguments))
    except UserError as error:
        print(f"sslbench {arguments.command}: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
