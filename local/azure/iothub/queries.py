"""Queries over devices and their jobs, page by page."""

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from local.azure.iothub.query_language import Query, Row, parse, parse_condition
from local.azure.iothub.query_tokens import QueryError
from local.azure.iothub.refusals import ArgumentInvalid
from local.azure.iothub.store import Store

LONGEST_QUERY = 8192  # docs: quotas and throttling
DEFAULT_PAGE, LARGEST_PAGE = 100, 1000


@dataclass(frozen=True)
class Page:
    """Some rows of a result. `continuation` is None on the last page."""

    rows: list[Row]
    item_type: str
    continuation: str | None


class Queries:
    """Answers queries; `job_rows` gives the rows of devices.jobs by key, in order of the keys."""

    def __init__(self, store: Store, job_rows: Callable[[], Iterator[tuple[str, Row]]]) -> None:
        self._store = store
        self._job_rows = job_rows

    def page(self, text: str, size: int | None, continuation: str | None) -> Page:
        """The rows after `continuation`; ArgumentInvalid when the text or the token is not understood."""
        if len(text) > LONGEST_QUERY:
            raise ArgumentInvalid(f"The query is longer than {LONGEST_QUERY} characters.")
        query = _understood(parse, text)
        size = DEFAULT_PAGE if size is None else size
        if not 1 <= size <= LARGEST_PAGE:
            raise ArgumentInvalid(f"The page size is between 1 and {LARGEST_PAGE}.")
        after = _key(continuation)
        found: list[tuple[str, Row]] = []
        for key, row in self._job_rows() if query.source == "devices.jobs" else self._store.visible():
            if (after is None or key > after) and query.finds(row):
                found.append((key, row))
            if len(found) > size:  # one more, to know whether this is the last page
                break
        more = _token(found[size - 1][0]) if len(found) > size else None
        return Page([query.projected(row) for _, row in found[:size]], _item_type(query), more)


def read_condition(condition: str) -> Query:
    """The devices that a job's `queryCondition` means; ArgumentInvalid when it is not understood."""
    return _understood(parse_condition, condition)


def _understood(read: Callable[[str], Query], text: str) -> Query:
    try:
        return read(text)
    except QueryError as error:
        raise ArgumentInvalid(f"The query is not understood: {error}") from None


def _item_type(query: Query) -> str:
    if query.source == "devices.jobs":
        return "DeviceJob"
    return "Raw" if query.columns else "Twin"


def _token(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _key(token: str | None) -> str | None:
    # A page goes on after a key and not after a number of rows, so that a device deleted meanwhile hides no other.
    try:
        return base64.b64decode(token, validate=True).decode() if token else None
    except (binascii.Error, UnicodeDecodeError):
        raise ArgumentInvalid("The continuation token is not one of this hub.") from None
