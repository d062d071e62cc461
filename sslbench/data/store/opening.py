"""Opening a split's file: what a shared cache hands over is checked before a row of it is read."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa

from sslbench.core.errors import UserError

MEND = "run the prepare stage again"
_START = 8  # the magic bytes, filled up; the stream of messages begins here
_MAGIC = {b"ARROW1"}
_NUMBERS = (pa.types.is_integer, pa.types.is_floating)


def read_batch(path: Path) -> pa.RecordBatch:
    """Return the one record batch of a file, memory-mapped.

    Raises:
        UserError: the file is absent, or is not a split of ours.
    """
    try:
        batch = _mapped(path)
        # Without `full`, an offset may point out of the file, and reading its row ends the process.
        batch.validate(full=True)
        _refuse_columns(batch)
        return batch
    except FileNotFoundError:
        raise UserError("file not found", where=str(path), mend=MEND) from None
    except (pa.ArrowException, OSError, ValueError, LookupError, struct.error) as error:
        raise UserError(f"damaged file ({error})", where=str(path), mend=MEND) from None


def _mapped(path: Path) -> pa.RecordBatch:
    content = pa.memory_map(str(path)).read_buffer()
    if content.size < 2 * _START or {content[:6].to_pybytes(), content[-6:].to_pybytes()} != _MAGIC:
        raise pa.ArrowInvalid("not an Arrow file, or its end is missing")
    # As a stream, message by message: the footer may point anywhere, and opening a batch by it
    # would unpack a compressed one at once.
    messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(content[_START:]))
    schema, batch = _next(messages), _next(messages)
    if schema is None or batch is None:
        raise pa.ArrowInvalid("no schema with a record batch")
    if (schema.type, batch.type) != ("schema", "record batch"):
        raise pa.ArrowInvalid(f"{schema.type} and {batch.type}, not a schema and a batch")
    if _is_compressed(batch.metadata.to_pybytes()):
        raise pa.ArrowInvalid("compressed, so it could unpack to any size; we write none")
    if _next(messages) is not None:
        raise pa.ArrowInvalid("more than one record batch")
    return pa.ipc.read_record_batch(batch, pa.ipc.read_schema(schema))


def _next(messages: Any) -> Any:
    try:
        return messages.read_next_message()
    except StopIteration:
        return None


def _is_compressed(message: bytes) -> bool:
    """Return whether a batch's flatbuffer, which Arrow has verified, names a compression.

    https://github.com/apache/arrow/blob/main/format/Message.fbs: the header is field 2 of Message,
    the compression field 3 of RecordBatch.
    """
    (root,) = struct.unpack_from("<I", message)
    header = _field(message, root, 2)
    (step,) = struct.unpack_from("<I", message, header)
    return bool(_field(message, header + step, 3))


def _field(message: bytes, table: int, number: int) -> int:
    """Return where a field of a table is, or 0 where the table has none."""
    (back,) = struct.unpack_from("<i", message, table)
    (size,) = struct.unpack_from("<H", message, table - back)
    slot = 4 + 2 * number
    if slot >= size:
        return 0
    (offset,) = struct.unpack_from("<H", message, table - back + slot)
    return table + offset if offset else 0


def _refuse_columns(batch: pa.RecordBatch) -> None:
    """Refuse columns that are missing, hold nulls, or are of a type that we do not write."""
    expected = {"label": pa.types.is_int64, "id": pa.types.is_string}
    if missing := {"image", *expected} - set(batch.schema.names):
        raise pa.ArrowInvalid(f"no column {min(missing)}")
    if len(set(batch.schema.names)) < len(batch.schema.names):
        raise pa.ArrowInvalid("two columns of one name")
    for field, values in zip(batch.schema, batch.columns, strict=True):
        is_known = expected.get(field.name, _is_of_ours)
        if not is_known(field.type) or values.null_count:
            raise pa.ArrowInvalid(f"column {field.name!r} is of type {field.type}, or holds nulls")
        if pa.types.is_fixed_size_binary(field.type):
            _refuse_shape(field)


def _is_of_ours(kind: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    is_bytes = pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind)
    return is_bytes or any(is_number(kind) for is_number in _NUMBERS)


def _refuse_shape(field: pa.Field) -> None:
    text = (field.metadata or {}).get(b"shape", b"")
    shape = [int(side) for side in text.split(b",")]
    if min(shape) < 1 or math.prod(shape) != field.type.byte_width:
        what = f"column {field.name!r}: shape {shape} of {field.type.byte_width} bytes"
        raise pa.ArrowInvalid(what)
