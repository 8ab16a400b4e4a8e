"""What the probe found, as a table for people and as knobs for the stand-in."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.azure.knobs import Knobs

BELIEVED: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Knobs)}
NOT_ASKED: dict[str, str] = {
    "bulk_costs_each": "takes a spent quota of 1,000 operations",
    "job_start_delay_s": "takes a job, which the hub keeps for 30 days",
    "near_expiry_event": "takes an Event Grid subscription and a certificate near its end",
    "near_expiry_for_young": "takes an Event Grid subscription and a certificate near its end",
    "credential_policy_visible": "takes a Device Registry namespace with a policy",
    "expired_ca_at_register": "takes an expired CA certificate in the DPS, by ARM",
    "enrollment_claims_registration_id": "takes a verified CA certificate in the DPS, by ARM",
    "arm_shows_certificate": "takes a CA certificate in the DPS, by ARM",
    "ca_delete_while_referenced": "takes a CA certificate in the DPS, by ARM",
    "expired_ca_at_upload": "takes a CA certificate in the DPS, by ARM",
    "unverified_ca_reference": "takes an unverified CA certificate in the DPS, by ARM",
} | dict.fromkeys(
    ("hub_log_properties", "hub_log_delay_s", "hub_log_loss", "hub_log_duplicates", "hub_log_reorder"),
    "takes a diagnostic setting of the hub and Event Hubs",
)
"""Knobs that one device and a few calls cannot settle."""


@dataclass(frozen=True)
class Finding:
    """One answer. `name` is a knob, or a question in words. `found` None: it was asked, and not settled."""

    name: str
    found: Any
    believed: Any
    note: str = ""

    @property
    def of_a_knob(self) -> bool:
        """Whether the stand-in can be set to it."""
        return self.name in BELIEVED


def knob(name: str, found: Any, note: str = "") -> Finding:
    """What a knob should stand at; durations to a tenth of a second."""
    return Finding(name, round(found, 1) if isinstance(found, float) else found, BELIEVED[name], note)


def settings(findings: Iterable[Finding]) -> dict[str, Any]:
    """The body of `PATCH {control}/knobs`: everything that was settled."""
    return {one.name: one.found for one in findings if one.of_a_knob and one.found is not None}


def table(findings: Iterable[Finding]) -> str:
    """`knob: value (believed: …)`, one a line; then the knobs that were not asked for, and why."""
    lines = [_line(one) for one in findings]
    lines += ["", "not asked:", *(f"  {name}: {why}" for name, why in NOT_ASKED.items())]
    return "\n".join(lines)


def _line(one: Finding) -> str:
    found = "not settled" if one.found is None else _shown(one.found)
    mark = "  " if one.found in (one.believed, None) or _just_a_duration(one) else "! "
    note = f"  [{one.note}]" if one.note else ""
    return f"{mark}{one.name}: {found} (believed: {_shown(one.believed)}){note}"


def _just_a_duration(one: Finding) -> bool:
    """A time that the stand-in makes short on purpose is no surprise, unless it is nothing on one side only."""
    return isinstance(one.found, float) and bool(one.found) and bool(one.believed)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def write(findings: list[Finding], asked: str, folder: Path) -> None:
    """`knobs.json` and `table.txt`, which name no resource and hold no key."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "knobs.json").write_text(json.dumps(settings(findings), indent=2) + "\n")
    (folder / "table.txt").write_text(f"{table(findings)}\n\nasked: {asked}\n")
