"""The vault's events cannot be relied on: all are lost, or each comes five times and late. All roll all the same.

Event Grid delivers at least once and in no order, and gives an event up after 24 hours (azure-docs event-grid
delivery-and-retry). Only the sweep needs no event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from local.rehearse.enrolling import set_up
from local.rehearse.expiry import ORDINALS, roll
from local.rehearse.fleet import Member, members
from local.rehearse.mishaps import Mishap, Roll
from local.rehearse.operator import VaultCertificate
from local.rehearse.scenario import Stage

DEVICES = 10
COPIES = 5
REORDER_S = 4.0


class UnsureEvents:
    """The scenario, for one kind of mishap; see the module."""

    rollovers = len(ORDINALS)

    def __init__(self, name: str, title: str, mishap: Mishap, proves: str) -> None:
        self.name, self.title, self.proves = name, title, proves
        self._mishap = mishap

    def members(self) -> Sequence[Member]:
        return members(DEVICES)

    def run(self, stage: Stage) -> None:
        """Maltreat the events from the first one on; every rollover; then look at all that the app began."""
        mishap = stage.found.mishap = replace(self._mishap, ends={}, rolls=[])
        stage.operator.maltreat_events(mishap.switches())
        with stage.phase("set-up"):
            in_use = set_up(stage)
        for number in range(1, self.rollovers + 1):
            mishap.ends |= _ends(in_use)
            in_use = roll(stage, number, in_use)
        if not mishap.drop:
            with stage.phase("the last events"):
                _let_all_come(stage)
        mishap.rolls = [
            Roll(one["registration_id"], one["outgoing"]["sha256_thumbprint"], one["status"], one["cause"])
            for one in stage.operator.rollovers()
        ]


def _let_all_come(stage: Stage) -> None:
    """Until every copy of every event is delivered: one that comes late may yet begin something."""
    stage.read_journal()
    facts = stage.mishap_facts()
    sent = list(facts.deliveries) if facts else []
    stage.wait_for("the last events: every copy delivered", lambda: _delivered(stage), names=sent)


def _ends(certificates: Mapping[str, VaultCertificate]) -> dict[str, datetime]:
    return {one.sha256: one.not_after for one in certificates.values()}


def _delivered(stage: Stage) -> set[str]:
    """The events of which every copy has come."""
    stage.read_journal()
    facts = stage.mishap_facts()
    return {one for one, times in facts.deliveries.items() if times >= facts.mishap.copies} if facts else set()


NO_EVENTS = UnsureEvents(
    "no-events",
    "Every event of the vault is lost: the sweep alone finds what is due",
    Mishap(drop=True),
    "A good run shows that no event is needed: with every one of the vault's events lost, the app's real code rolls"
    " every certificate once and before its end, because the hourly sweep looks for itself. It does not show how long"
    " a sweep takes on Azure over thousands of certificates.",
)
NOISY_EVENTS = UnsureEvents(
    "noisy-events",
    f"Every event of the vault comes {COPIES} times, and late",
    Mishap(copies=COPIES, reorder_s=REORDER_S),
    f"A good run shows that events are hints and nothing more: each comes {COPIES} times and is overtaken by later"
    " ones, and still every certificate is rolled once. It does not show how often Event Grid repeats itself on Azure:"
    " its documentation says only that it may.",
)
