"""Shared set-up: the project's root, one thread, and no tracking unless a test asks for it."""

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["SSLBENCH_TRACKING"] = "off"
os.environ["SSLBENCH_DEVICE"] = "cpu"

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root():
    return ROOT
