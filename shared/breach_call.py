"""Reads what a breach call asks for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.body import only, required_text, text_of
from shared.errors import BadInput
from shared.incident import Mode
from shared.selecting import KINDS, Selector, parse_selector

ASKING = (*KINDS, "reason", "ticket", "compromised", "mode")


@dataclass(frozen=True)
class Asking:
    """What a breach call asks for."""

    selector: Selector
    mode: Mode
    reason: str
    ticket: str | None
    compromised: Any

    def as_json(self) -> dict[str, Any]:
        """As it is kept, and as a call has it."""
        given = {"reason": self.reason, "ticket": self.ticket, "mode": self.mode, "compromised": self.compromised}
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
    )
