"""Looks at every certificate of the vault: what no event announced is found here."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from shared.errors import RolloverError
from shared.events import LogEvent, log
from shared.services import Listed, Services
from shared.starting import start_rollover
from shared.telemetry import measure_sweep


def sweep(services: Services, shuffle: Callable[[list[Listed]], None] = random.shuffle) -> Counter[str]:
    """Begin every rollover that is due; how often each came out (``Started.what``, or "failed").

    One certificate that cannot be read never stops the others: it is named in the log and the ledger, and the
    next sweep tries it again.
    """
    outcomes: Counter[str] = Counter()
    near = services.now() + services.settings.due.window
    for listed in in_order(list(services.vault.certificates()), near, shuffle):
        try:
            started = start_rollover(listed.name, "sweep", services, hint=False)
            outcomes[started.what] += 1
        except RolloverError as error:
            outcomes["failed"] += 1
            log(LogEvent.TARGET_FAILED, certificate=listed.name, why=str(error))
            services.ledger.note_refused("sweep", listed.name, str(error), services.now())
    log(LogEvent.SWEPT, **outcomes)
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
