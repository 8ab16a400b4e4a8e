"""Looks once a day, in turns, at which thumbprint the hub pins to each device, for a breach that must be narrowed.

Only where there is a group that devices register through with a certificate. A turn is short and asks for few pages;
the next one goes on where it ended. Queries are scarce: 20 a minute for each S1 unit (docs of IoT Hub, quotas).
"""

from dataclasses import replace
from datetime import timedelta

from shared.errors import NotAllowed, RolloverError, ServiceRefused
from shared.events import LogEvent, log
from shared.group import why_group_is_not_ours
from shared.pins import Round
from shared.services import Services

EVERY = timedelta(days=1)
PAGES = 5
"""A turn: with a turn every five minutes a twentieth of the queries of one S1 unit."""
LONGEST_TURN = timedelta(seconds=60)


def keep_pins(services: Services) -> int:
    """One turn; how many devices it saw. One that is cut off, or finds a service down, is gone on with by the next."""
    try:
        return _turn(services)
    except RolloverError as error:
        log(LogEvent.PINS_FAILED, why=str(error))
        return 0


def _turn(services: Services) -> int:
    pins, began = services.fleet.pins, services.now()
    present = pins.round()
    if present is None or present.ended_at is not None:
        if present is not None and began < present.began_at + EVERY:
            return 0
        if all(why_group_is_not_ours(group) for group in services.provisioning.groups()):
            return 0
        complete_since = present.complete_since if present else None
        etag = present.etag if present else ""
        present = pins.save_round(Round(began, complete_since=complete_since, etag=etag))
    seen = 0
    for _ in range(PAGES):
        try:
            shown, more = services.hub.pinned(present.cursor)
        except NotAllowed:
            raise
        except ServiceRefused:
            if present.cursor is None:
                raise
            # The continuation token may be too old by now.
            pins.save_round(replace(present, cursor=None, devices=0))
            return seen
        pins.note(shown, services.now())
        seen += len(shown)
        present = replace(present, cursor=more, devices=present.devices + len(shown))
        if more is None:
            since = present.complete_since or present.began_at
            pins.save_round(replace(present, ended_at=services.now(), complete_since=since))
            log(LogEvent.PINS_KEPT, devices=present.devices)
            return seen
        present = pins.save_round(present)
        if services.now() - began >= LONGEST_TURN:
            return seen
    return seen
