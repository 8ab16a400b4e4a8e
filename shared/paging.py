"""Pages of a list that is worked out anew for each call: a mark says behind which entry the next one begins. Pure.

A mark is the key of the last entry shown, not its number: what came or went in between makes nothing be left out or
shown twice.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence

from shared.errors import BadInput

PAGING = ("limit", "continuation")
"""The parameters of a call."""
PAGE, LARGEST_PAGE = 100, 1000

type Key = tuple[str, ...]


def page[Entry](
    entries: Sequence[Entry], key: Callable[[Entry], Key], params: Mapping[str, str]
) -> tuple[Sequence[Entry], str | None]:
    """The page that is asked for of entries in ascending order of ``key``, and the mark of the next; None on the last.

    Raises:
        BadInput: a limit or a mark that is none.
    """
    limit, after = limit_of(params), after_of(params)
    left = [one for one in entries if after is None or key(one) > after]
    shown = left[:limit]
    return shown, mark_of(key(shown[-1])) if len(left) > limit else None


def limit_of(params: Mapping[str, str]) -> int:
    """How many entries a page has at most.

    Raises:
        BadInput: it is no limit.
    """
    text = params.get("limit", str(PAGE))
    if text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= LARGEST_PAGE:
        return int(text)
    raise BadInput(f"limit must be a whole number from 1 to {LARGEST_PAGE}")


def mark_of(key: Key) -> str:
    """The mark that says: behind this entry."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def after_of(params: Mapping[str, str]) -> Key | None:
    """The key that the mark of a call stands for; None on the first page.

    Raises:
        BadInput: it is no mark.
    """
    if (mark := params.get("continuation")) is None:
        return None
    try:
        found = json.loads(base64.b64decode(mark.encode(), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise BadInput("continuation must be the one that the last page gave")
    return tuple(found)
