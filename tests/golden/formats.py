"""Which format a file is of, by its content: the few that hold no code."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from xml.etree import ElementTree

import pyarrow as pa
from safetensors import safe_open


def _is_arrow(path):
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).num_record_batches == 1


def _is_safetensors(path):
    with safe_open(path, framework="numpy") as file:
        return bool(list(file.keys()) or file.metadata())  # a trajectory may be empty


def _is_json(path):
    return json.loads(path.read_text()) is not None


def _is_csv(path):
    return len({len(row) for row in csv.reader(io.StringIO(path.read_text()))}) == 1


def _is_page(path):
    return path.read_text().startswith("<!DOCTYPE html>")


def _is_drawing(path):
    return ElementTree.fromstring(path.read_text()).tag == "{http://www.w3.org/2000/svg}svg"


def _is_markdown(path):
    return path.read_text().startswith("# ")


def _is_database(path):
    with closing(sqlite3.connect(path)) as store:
        return store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


ALLOWED = {
    ".arrow": _is_arrow, ".safetensors": _is_safetensors, ".json": _is_json, ".csv": _is_csv,
    ".html": _is_page, ".svg": _is_drawing, ".md": _is_markdown, ".db": _is_database,
    ".lock": _is_json,
}  # fmt: skip
NAMES = (".gitignore", ".snakemake_timestamp")  # tools' own, of text


def is_allowed(path):
    """Whether a file is of an allowed format, by its name and by what is in it."""
    if path.name in NAMES:
        return path.read_text().isascii()
    return path.suffix in ALLOWED and ALLOWED[path.suffix](path)
