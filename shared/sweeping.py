"""Looks at every certificate of the vault: what no event announced is found here."""

from collections import Counter

from shared.errors import RolloverError
from shared.events import LogEvent, log
from shared.services import Services
from shared.starting import start_rollover


def sweep(services: Services) -> Counter[str]:
    """Begin every rollover that is due; how often each came out (``Started.what``, or "failed").

    One certificate that cannot be read never stops the others: it is named in the log and the ledger, and the
    next sweep tries it again.
    """
    outcomes: Counter[str] = Counter()
    for listed in services.vault.certificates():
        try:
            started = start_rollover(listed.name, "sweep", services, hint=False)
            outcomes[started.what] += 1
        except RolloverError as error:
            outcomes["failed"] += 1
            log(LogEvent.TARGET_FAILED, certificate=listed.name, why=str(error))
            services.ledger.note_refused("sweep", listed.name, str(error), services.now())
    log(LogEvent.SWEPT, **outcomes)
    return outcomes
