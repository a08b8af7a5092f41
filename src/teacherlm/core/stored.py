"""Small typed objects kept as JSON files: written the same way each time, and read back whole or not at all."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from teacherlm.core.errors import MachineFailed

Kept = TypeVar("Kept")


def to_json(value: Any) -> bytes:
    """UTF-8 JSON, indented, keys in the order of the fields; the same object gives the same bytes."""
    return orjson.dumps(
        TypeAdapter(type(value)).dump_python(value, mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


def from_json(kind: type[Kept], text: bytes | str, what: str) -> Kept:
    """The object that `to_json` wrote.

    Args:
        what: what it is called in the message, such as `the report`.

    Raises:
        MachineFailed: it was changed or cut.
    """
    try:
        value: Kept = TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its text"
        raise MachineFailed(f"{what} cannot be read: {place}: {first['msg']}", "check the dataset again") from None
    return value
