"""Pagination by cursor, and the identifiers in paths."""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, Field

from service.errors import InvalidValue

Item = TypeVar("Item")
Value = TypeVar("Value")


def require_digits(text: object) -> object:
    """Validator: raise ValueError for text that is not plain ASCII digits."""
    # int() also accepts 1_0 and ４.
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise ValueError("digits only")
    return text


RunId = Annotated[
    int,
    Path(ge=1, le=2**63 - 1, description="The run's id.", examples=[1]),
    BeforeValidator(require_digits),  # last, or the bounds are missing from the JSON Schema
]
EpochNumber = Annotated[
    int,
    Path(ge=0, le=2**31 - 1, description="Epoch; 0 is the untrained network.", examples=[1]),
    BeforeValidator(require_digits),
]
PageLimit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items per page.")]
Cursor = Annotated[
    str | None, Query(max_length=64, description="`next` of the previous page.", examples=[None])
]


class Page(BaseModel, Generic[Item]):
    """A page of a collection."""

    items: list[Item]
    next: str | None = Field(description="Cursor of the next page; null on the last page.")


def decode_cursor(cursor: str | None) -> int | None:
    """The key of the previous page's last item. Raises InvalidValue."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
    except ValueError:
        text = ""
    match = re.fullmatch(r"after:(\d{1,18})", text, flags=re.ASCII)
    if match is None:
        raise InvalidValue("cursor", "not a cursor of this service")
    return int(match[1])


def paginate(
    rows: Sequence[Value],
    limit: int,
    to_item: Callable[[Value], Item],
    key: Callable[[Value], int],
) -> Page[Item]:
    """A page of `limit` items from a query for `limit + 1` rows."""
    has_next = len(rows) > limit
    cursor = f"after:{key(rows[limit - 1])}".encode() if has_next else None
    return Page(
        items=[to_item(value) for value in rows[:limit]],
        next=base64.urlsafe_b64encode(cursor).decode() if cursor else None,
    )
