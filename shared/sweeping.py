"""Sees to every certificate of the vault: what no event announced is found here.

The lists of vault, DPS and ledger show which certificates are well; only the others are looked at one by one.
"""

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from shared.announce import announce_once
from shared.errors import BadInput, Misconfigured, RolloverError, ServiceRefused, Unsuitable, unexpected
from shared.events import Lifecycle, LogEvent, log
from shared.expiring import tell_horizon
from shared.screening import Sight, members_in_turn, screen
from shared.seen import Listed
from shared.services import Services
from shared.starting import start_rollover
from shared.survey import Source, Survey
from shared.surveying import note_devices, survey
from shared.telemetry import measure_sweep

NEEDED = (Source.VAULT, Source.ENROLLMENTS, Source.GROUPS)
"""Without these lists a sweep has not seen everything."""
LASTING = (BadInput, Misconfigured, ServiceRefused, Unsuitable)
"""Failures that do not pass by themselves: somebody is told at the first."""


def sweep(services: Services, shuffle: Callable[[list[Listed]], None] = random.shuffle) -> Counter[str]:
    """Begin every rollover that is due; how often each came out (``Started.what``, "failed", or "unseen").

    One certificate that cannot be read never stops the others: it is named in the log and the ledger, once on the
    topic, and the next sweep tries it again.

    Raises:
        ServiceUnavailable, ServiceRefused: a list could not be read, or not whole; what could be seen has begun.
    """
    notes = services.devices.all()
    found = survey(services, notes)
    if error := found.missing.get(Source.LEDGER):
        raise error
    now, due = services.now(), services.settings.due
    sights = {listed.name: screen(listed, found, now, due) for listed in found.vault}
    sights |= dict.fromkeys(members_in_turn(found, sights, now), Sight.CLOSE)
    outcomes = Counter(sight.value for sight in sights.values() if sight is not Sight.CLOSE)
    closely = [listed for listed in found.vault if sights[listed.name] is Sight.CLOSE]
    for listed in in_order(closely, now + due.window, shuffle):
        outcomes[_look_at(listed, services)] += 1
    note_devices(found, notes, services)
    log(LogEvent.SWEPT, **outcomes, closely=len(closely))
    _require_whole(found, services)
    tell_horizon(replace(found, open={one.partition: one for one in services.ledger.open()}), services)
    measure_sweep(outcomes)
    return outcomes


def in_order(certificates: list[Listed], near: datetime, shuffle: Callable[[list[Listed]], None]) -> list[Listed]:
    """Those that end before ``near`` first, soonest first; the others in any order, another one each time.

    A sweep that is cut off by the host's time limit has then seen what matters, and no certificate is always last.
    """
    soon = [c for c in certificates if c.ends is not None and c.ends <= near]
    soon.sort(key=lambda c: c.ends or near)
    others = [c for c in certificates if c.ends is None or c.ends > near]
    shuffle(others)
    return soon + others


def _look_at(listed: Listed, services: Services) -> str:
    try:
        return start_rollover(listed.name, "sweep", services, hint=False).what
    except RolloverError as error:
        failed = error
    except Exception as error:  # noqa: BLE001  whatever it is, it must not hide the certificates behind this one
        failed = unexpected(error)
    log(LogEvent.TARGET_FAILED, certificate=listed.name, why=str(failed))
    _note(listed.name, failed, {"certificateName": listed.name}, services)
    return "failed"


def _require_whole(found: Survey, services: Services) -> None:
    failed = {source: found.missing[source] for source in NEEDED if source in found.missing}
    for source, error in failed.items():
        log(LogEvent.SOURCE_UNREAD, source=source, why=str(error))
        _note(f"the {source}", error, {}, services)
    for error in failed.values():
        raise error


def _note(subject: str, error: RolloverError, data: dict[str, str], services: Services) -> None:
    """In the ledger; and once on the topic, if it will not pass by itself."""
    why = without_tracking(str(error))
    if isinstance(error, LASTING):
        announce_once(Lifecycle.CANNOT_BEGIN, "sweep", subject, why, data, services)
    else:
        services.ledger.note_refused("sweep", subject, why, services.now())


def without_tracking(why: str) -> str:
    """A service's words without what differs each time, so that the same reason is known again."""
    return re.sub(r"[,;\s]*(tracking ?id|timestamp)\s*[:=]\s*[^\s,;]+", "", why, flags=re.IGNORECASE)
