"""Write a pretrained backbone for torchvision, timm, ONNX or as safetensors, with its model card.

The folder holds the weights, load.py, features.py (features of image files) and a card in JSON
and Markdown. Its features are compared with the checkpoint's in a clean process before it is kept.

examples: sslbench export simclr 0 --format torchvision
          sslbench export mae 0 --format timm --out shared/mae
          sslbench export simclr 0 --format onnx --register
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.core.errors import UserError
from sslbench.exporting import formats

REGISTERED = "onnx"  # the format that MLflow's registry takes without a pickle


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("method", metavar="METHOD", help="a method of the grid")
    parser.add_argument("seed", metavar="SEED", type=int, help="its pretraining seed")
    parser.add_argument("--format", required=True, choices=formats.names(), dest="form")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: export/METHOD-SEED-FORMAT"
    )
    parser.add_argument(
        "--register", action="store_true", help=f"also in MLflow's model registry ({REGISTERED})"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Export and say where it lies and how well it agrees."""
    from sslbench.exporting.export import export

    form = arguments.form
    if arguments.register and form != REGISTERED:
        raise UserError(f"--register takes --format {REGISTERED}, found {form}")
    name = f"{arguments.method}-{arguments.seed}-{form}"
    made = export(arguments.method, arguments.seed, form, arguments.out or Path("export") / name)
    print(f"{made.folder}: features as the checkpoint's, within {made.largest_difference:.1e}")
    if arguments.register:
        from sslbench.commands._register import register

        print(f"MLflow: {register(made)}")
    return 0
