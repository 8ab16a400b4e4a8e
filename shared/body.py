"""Reads the body of a call: what a person wrote, checked before anything is done."""

from collections.abc import Mapping
from typing import Any

from shared.errors import BadInput

LONGEST_TEXT = 500
"""It goes into the history, which is read by people."""


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


def accepted_routes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Escape routes that the caller accepts, by name.

    Raises:
        BadInput: not a list of texts.
    """
    given = body.get("accept_escape_routes", [])
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise BadInput('accept_escape_routes must be a list of names as the preview shows them, as in ["group g1"]')
    return tuple(given)
