"""params.yaml against its JSON schema: unknown keys and wrong types, by the key's path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sslbench.core import params
from sslbench.core.errors import UserError

SCHEMA = Path("workflow/schemas/params.schema.yaml")


def validate(values: Any, where: str, schema: Path = SCHEMA) -> None:
    """Check values against the schema.

    Raises:
        UserError: the first thing wrong, with its key's path.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(params.load(schema)).iter_errors(values))
    if error is not None:
        path = ".".join(str(part) for part in error.absolute_path) or "the top"
        message = error.message if len(error.message) < 200 else error.message[:200] + "..."
        raise UserError(f"{path}: {message}", where=where, mend="see conf/ for the keys there are")
