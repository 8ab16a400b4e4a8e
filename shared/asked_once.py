"""Services that a call can do without are not waited for twice: one that gave no answer is not asked again by it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

from shared.errors import ServiceUnavailable
from shared.ports import Authorities, Vault
from shared.services import Services


def asked_once(services: Services) -> Services:
    """The services for one call, of which vault and Resource Manager, once down, stay down for the rest of it.

    Who contains a breach waits for the answer, and each question to a service that is silent takes seconds.
    """
    return replace(
        services,
        vault=cast(Vault, _AskedOnce(services.vault)),
        authorities=cast(Authorities, _AskedOnce(services.authorities)),
    )


class _AskedOnce:
    """A port, as it is until it gives no answer."""

    def __init__(self, port: object) -> None:
        self._port = port
        self._failure: ServiceUnavailable | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)

        def ask(*args: Any, **members: Any) -> Any:
            found = self._heard(lambda: method(*args, **members))
            return self._each(found) if isinstance(found, Iterator) else found

        return ask

    def _each(self, found: Iterator[Any]) -> Iterator[Any]:
        """A list is read page by page, so it may fail in its midst."""
        end = object()
        while (one := self._heard(lambda: next(found, end))) is not end:
            yield one

    def _heard(self, ask: Callable[[], Any]) -> Any:
        if self._failure is not None:
            raise self._failure
        try:
            return ask()
        except ServiceUnavailable as error:
            self._failure = error
            raise
