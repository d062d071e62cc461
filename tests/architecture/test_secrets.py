"""No credential in a tracked file: they belong in .dvc/config.local and in the environment."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What providers document of their own keys, and two shapes of a password in a setting.
SECRETS = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "AWS secret key": re.compile(r"(?i)aws_secret_access_key\W{1,5}[0-9a-z/+]{40}(?![0-9a-z/+])"),
    "GitHub token": re.compile(r"\bgh[pousr]_[0-9A-Za-z]{36,}\b|\bgithub_pat_[0-9A-Za-z_]{60,}"),
    "Google key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "Hugging Face token": re.compile(r"\bhf_[0-9A-Za-z]{34,}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    "password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@{}$<>]+:[^\s/@{}$<>]{3,}@"),
    "password": re.compile(
        r"(?i)\b(?:password|passwd|secret|token)\s*[=:]\s*['\"][^'\"{}$<\s]{8,}['\"]"
    ),
}
LOCAL = (".dvc/config.local", "mlflow.db", ".env")


def tracked():
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


def found_in(text):
    return [name for name, pattern in SECRETS.items() if pattern.search(text)]


def test_no_tracked_file_holds_a_secret():
    faults = {}
    for path in tracked():
        if path.is_file() and path != Path(__file__):
            said = found_in(path.read_bytes().decode("utf-8", errors="replace"))
            if said:
                faults[path.relative_to(ROOT).as_posix()] = said
    assert faults == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-----BEGIN OPENSSH " + "PRIVATE KEY-----", "private key"),
        ("AKIA" + "A1B2C3D4E5F6G7H8", "AWS access key"),
        ("aws_secret_access_key = " + "a/b+" * 10, "AWS secret key"),
        ("ghp_" + "x1" * 18, "GitHub token"),
        ("postgresql://mlflow:" + "hunter22@db/mlflow", "password in a URL"),
        ("password: '" + "correct-horse'", "password"),
    ],
)
def test_the_scan_sees(text, name):
    assert name in found_in(text)


@pytest.mark.parametrize(
    "text",
    ["https://docs.python.org/3/", "postgresql://$USER:$PASSWORD@db", "token = tokens[:, 0]"],
)
def test_the_scan_leaves_alone(text):
    assert found_in(text) == []


@pytest.mark.parametrize("name", LOCAL)
def test_what_holds_credentials_is_ignored(name):
    command = ["git", "-C", str(ROOT), "check-ignore", "-q", name]
    done = subprocess.run(command, check=False)
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    assert done.returncode == 0
