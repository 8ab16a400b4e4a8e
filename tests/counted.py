"""Counts the requests that in-memory services would cost: one a call, and one a page of a list."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.fakes import World

PAGES = {"certificates": 25, "enrollments": 1000, "groups": 1000, "scan": 1000, "slice": 1000, "accepted": 1}
"""Entries a page (``accepted`` gives pages): the vault gives 25 (azure-rest-api-specs, GetCertificates), the others
what is asked for."""


class Counted:
    """A service, and how often it was asked what."""

    def __init__(self, inner: Any, name: str, requests: Counter[str]) -> None:
        self._inner, self._name, self._requests = inner, name, requests

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            answer = found(*arguments, **named)
            asked = f"{self._name}.{name}"
            if page := PAGES.get(name):
                return self._paged(asked, answer, page)
            self._requests[asked] += 1
            return answer

        return call

    def _paged(self, asked: str, entries: Iterator[Any], page: int) -> Iterator[Any]:
        """A page is asked for when it is come to."""
        at = -1
        for at, entry in enumerate(entries):
            if at % page == 0:
                self._requests[asked] += 1
            yield entry
        if at < 0:
            self._requests[asked] += 1


def counting(world: World) -> Counter[str]:
    """From now on count what the world's services are asked; the counts, which go on growing."""
    requests: Counter[str] = Counter()
    for name, service in _services(world):
        setattr(world, name, Counted(service, name, requests))
    return requests


def _services(world: World) -> Iterator[tuple[str, Any]]:
    for name in ("vault", "dps", "hub", "authorities", "table", "nudges", "topic"):
        yield name, getattr(world, name)
