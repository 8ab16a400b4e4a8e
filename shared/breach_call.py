"""Reads what a breach call asks for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.body import only, required_text, text_of
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
    compromised_since: datetime | None = None
    leaf_keys_safe: bool = False

    def as_json(self) -> dict[str, Any]:
        """As it is kept, and as a call has it."""
        since = self.compromised_since.isoformat() if self.compromised_since else None
        given = {
            "reason": self.reason,
            "ticket": self.ticket,
            "mode": self.mode,
            "compromised": self.compromised,
            "compromised_since": since,
            "leaf_keys_safe": self.leaf_keys_safe or None,
        }
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
    return Asking(
        selector=parse_selector(body),
        mode=Mode(mode),
        reason=required_text(body, "reason"),
        ticket=text_of(body, "ticket"),
        compromised=body.get("compromised"),
        compromised_since=_time_of(body, "compromised_since"),
        leaf_keys_safe=_flag_of(body, "leaf_keys_safe"),
    )


def _time_of(body: Mapping[str, Any], name: str) -> datetime | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None:
        raise BadInput(f"{name} must be a time with its offset, as in 2026-11-24T00:00:00Z")
    return found.astimezone(UTC)


def _flag_of(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadInput(f"{name} must be true or false")
