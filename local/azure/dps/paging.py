"""Queries of the service API: `SELECT *`, page by page."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from local.azure.dps.refusals import BadRequest

LARGEST_PAGE = 1000
DEFAULT_PAGE = 100
_QUERY = re.compile(r"\s*SELECT\s+\*(\s+FROM\s+(?P<source>\w+))?\s*;?\s*", re.IGNORECASE)


def check_query(body: object, source: str) -> None:
    """BadRequest unless `body` is {"query": "SELECT *"}, with or without FROM `source`.

    `SELECT *` alone is what the recordings and azure-iot-cli-extension send; the C# tests add FROM.
    """
    query = body.get("query") if isinstance(body, dict) else None
    found = _QUERY.fullmatch(query) if isinstance(query, str) else None
    if found is None or (found["source"] or source).lower() != source.lower():
        raise BadRequest("The query is not valid.")


def page[Item](
    items: Iterable[tuple[str, Item]], headers: Mapping[str, str], item_type: str
) -> tuple[list[Item], dict[str, str]]:
    """One page of (key, item) pairs, and the response headers that go with it.

    The order is that of a partitioned store, not of creation (recorded, 2023): by a hash of the key. A token
    names the last hash, so that a page after a deletion skips nothing.
    """
    size = _size(headers.get("x-ms-max-item-count"))
    after = _position(headers.get("x-ms-continuation"))
    ordered = sorted(((_hash(key), item) for key, item in items), key=lambda pair: pair[0])
    rest = [pair for pair in ordered if pair[0] > after]
    shown = rest[:size]
    answer = {"x-ms-item-type": item_type, "X-Content-Type-Options": "nosniff"}
    if headers.get("x-ms-max-item-count"):
        answer["x-ms-max-item-count"] = str(size)
    if len(rest) > size:
        answer["x-ms-continuation"] = base64.b64encode(shown[-1][0].encode()).decode()
    return [item for _, item in shown], answer


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _size(text: str | None) -> int:
    if not text:
        return DEFAULT_PAGE
    if not text.isdigit() or not 1 <= int(text) <= LARGEST_PAGE:
        raise BadRequest(f"x-ms-max-item-count must be a number from 1 to {LARGEST_PAGE}.")
    return int(text)


def _position(token: str | None) -> str:
    try:
        return base64.b64decode(token or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise BadRequest("The continuation token is not valid.") from None


def object_list(body: Any, member: str) -> list[dict[str, Any]]:
    """The list of objects under `member`; BadRequest otherwise."""
    found = body.get(member) if isinstance(body, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadRequest(f"{member} must be a list of objects.")
    return found
