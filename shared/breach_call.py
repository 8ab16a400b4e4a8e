"""Reads what a breach call asks for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.body import only, required_text, text_of, time_of
from shared.errors import BadInput
from shared.incident import Mode
from shared.selecting import KINDS, Selector, parse_selector

ASKING = (*KINDS, "reason", "ticket", "compromised", "mode", "compromised_since", "leaf_keys_safe")


@dataclass(frozen=True)
class Asking:
    """What a breach call asks for."""

    selector: Selector
    mode: Mode
    reason: str
    ticket: str | None
    compromised: Any
    compromised_since: datetime | None
    """When a group's CA may have been stolen at the earliest."""
    leaf_keys_safe: bool
    """The caller says that no key of a device can have been stolen with it."""

    def as_json(self) -> dict[str, Any]:
        """As it is kept, and as a call has it."""
        given = {"reason": self.reason, "ticket": self.ticket, "mode": self.mode, "compromised": self.compromised}
        if self.compromised_since is not None:
            given |= {"compromised_since": self.compromised_since.isoformat(), "leaf_keys_safe": self.leaf_keys_safe}
        return {self.selector.kind: self.selector.value} | {k: v for k, v in given.items() if v is not None}


def parse_asking(body: Mapping[str, Any]) -> Asking:
    """Read a breach call.

    Raises:
        BadInput: naming what is wrong; an unknown member is wrong too, for it may be a selector with a slip in it.
    """
    only(body, *ASKING)
    mode = body.get("mode", Mode.REMOVE.value)
    if mode not in tuple(Mode):
        raise BadInput(f"mode must be one of {', '.join(Mode)}")
    since, safe = time_of(body, "compromised_since"), body.get("leaf_keys_safe", False)
    if not isinstance(safe, bool):
        raise BadInput("leaf_keys_safe must be true or false")
    if safe and since is None:
        raise BadInput("leaf_keys_safe narrows nothing without compromised_since")
    return Asking(
        selector=parse_selector(body),
        mode=Mode(mode),
        reason=required_text(body, "reason"),
        ticket=text_of(body, "ticket"),
        compromised=body.get("compromised"),
        compromised_since=since,
        leaf_keys_safe=safe,
    )
