"""Reads the body of a call: what a person wrote, checked before anything is done."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.errors import BadInput

LONGEST_TEXT = 500
"""It goes into the history, which is read by people."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""A moment before that is a slip of the pen."""


def only(body: Mapping[str, Any], *names: str) -> None:
    """Refuse members that there are not: one may be a known one with a slip in it.

    Raises:
        BadInput: naming the first.
    """
    if unknown := [name for name in body if name not in names]:
        raise BadInput(f"there is no member {unknown[0][:80]!r}; there are {', '.join(names)}")


def text_of(body: Mapping[str, Any], name: str) -> str | None:
    """A text that a person wrote; None when there is none.

    Raises:
        BadInput: not a text of a size that fits into the history.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT:
        raise BadInput(f"{name} must be a text of 1 to {LONGEST_TEXT} characters")
    return value.strip()


def required_text(body: Mapping[str, Any], name: str) -> str:
    """The same, of a member that must be there.

    Raises:
        BadInput: it is not.
    """
    value = text_of(body, name)
    if value is None:
        raise BadInput(f"{name} is missing: a text of 1 to {LONGEST_TEXT} characters that goes into the history")
    return value


def flag_of(body: Mapping[str, Any], name: str) -> bool:
    """True or false; false when there is none.

    Raises:
        BadInput: neither.
    """
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadInput(f"{name} must be true or false")
    return value


def time_of(body: Mapping[str, Any], name: str) -> datetime | None:
    """A moment, in UTC; None when there is none.

    Raises:
        BadInput: not a text in ISO 8601 with its offset: a time without one is another moment for each reader.
    """
    value = body.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        told = moment.tzinfo is not None and moment.astimezone(UTC) >= EARLIEST
    except (TypeError, ValueError, OverflowError):
        told = False
    if not told:
        raise BadInput(f"{name} must be a time in ISO 8601 with its offset, as in 2026-11-25T03:00:00Z")
    return moment.astimezone(UTC)


def accepted_routes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Escape routes that the caller accepts, by name.

    Raises:
        BadInput: not a list of texts.
    """
    given = body.get("accept_escape_routes", [])
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise BadInput('accept_escape_routes must be a list of names as the preview shows them, as in ["group g1"]')
    return tuple(given)
