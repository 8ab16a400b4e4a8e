"""A host that dies at one of its writes."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes import World

WRITES: Mapping[str, tuple[str, ...]] = {
    "dps": ("replace_group",),
    "hub": ("delete_many", "replace_twin", "rewrite", "start_method_job"),
    "authorities": ("put", "verify", "verification_code", "delete"),
    "vault": ("issue", "merge"),
    "table": ("commit",),
    "fleets": ("commit",),
    "nudges": ("send",),
    "topic": ("publish",),
}


class Killed(BaseException):
    """The host dies."""


class Mortal:
    """A world whose host dies at its write number ``at``, before or after it was done; the next host lives on."""

    def __init__(self, world: World, at: int, *, applied: bool) -> None:
        self.count, self.killed = 0, False
        self._at = at
        self._applied = applied
        for service, operations in WRITES.items():
            for operation in operations:
                port = getattr(world, service)
                setattr(port, operation, self._mortal(getattr(port, operation)))

    def _mortal(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*args: Any, **named: Any) -> Any:
            self.count += 1
            dies = self.count == self._at
            self.killed = self.killed or dies
            if dies and not self._applied:
                raise Killed
            result = write(*args, **named)
            if dies:
                raise Killed
            return result

        return attempt
