"""A certificate that is contained was tried again: into its breach's history and onto the topic."""

from dataclasses import replace
from datetime import timedelta

from shared.announce import announce
from shared.connection_log import Refusal
from shared.errors import Conflict
from shared.events import Lifecycle, LogEvent, log
from shared.rollover import Rollover
from shared.rows import History
from shared.services import Services

SOURCE = "hub log"
SAID_AGAIN_AFTER = timedelta(hours=1)
TRIES = 3


def record_tried(breach: Rollover, refusal: Refusal, why: str, services: Services) -> None:
    """Into the breach's history and onto the topic, at most once an hour: the device itself may be what tries.

    The breach goes on as it would: its row is written beside its steps, and a step that meets this write starts over.
    """
    for _ in range(TRIES):
        now = services.now()
        if breach.tried_again_at is not None and now - breach.tried_again_at < SAID_AGAIN_AFTER:
            return
        record = History(now, SOURCE, "breached certificate tried", why)
        event = f"{Lifecycle.BREACHED_CERTIFICATE_TRIED.value}/{breach.records + 1}"
        try:
            told = replace(breach, tried_again_at=now, outbox=(*breach.outbox, event))
            recorded = services.ledger.record(told, record)
        except Conflict:
            breach = services.ledger.read(breach.id)  # a step of it went on
            continue
        log(
            LogEvent.BREACHED_CERTIFICATE_TRIED,
            rollover_id=breach.id,
            registration_id=breach.registration_id,
            device_id=refusal.device_id,
            at=refusal.at,
        )
        announce(recorded, services)
        return
