"""Key Vault's certificate events, in both Event Grid schemas. A tolerant reader: documented samples have keys
with trailing spaces, values with leading ones, and times as numbers, texts or nothing at all.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from shared.errors import BadInput
from shared.events import LogEvent, log
from shared.services import Services
from shared.starting import start_rollover
from shared.stepping import refuse_input

EVENT_TYPES = (
    "Microsoft.KeyVault.CertificateNearExpiry",
    "Microsoft.KeyVault.CertificateNewVersionCreated",
    "Microsoft.KeyVault.CertificateExpired",
)

NAME = r"[0-9A-Za-z-]{1,127}"
"""What a Key Vault object may be called (azure-docs about-keys-secrets-certificates)."""


def take_event(
    event_type: str | None, event_id: str | None, topic: str | None, subject: str | None, data: Any, services: Services
) -> None:
    """Begin or hasten the rollover that an event is about.

    An event that is not ours or cannot be read is refused in the log and the ledger; Event Grid is told that it
    arrived, for sending it again cannot help. A service that does not answer raises, so that Event Grid does
    send it again.

    Raises:
        ServiceUnavailable, ServiceRefused.
    """
    try:
        name = certificate_of(event_type, subject, data, services.settings.vault_url)
    except BadInput as error:
        shown = f"{event_type} {subject} from {topic}"  # no event ID: the same again is counted, not listed
        refuse_input("event", shown, str(error), services)
        return
    kind = str(event_type).rpartition(".")[2]
    log(LogEvent.CERTIFICATE_EVENT, certificate=name, kind=kind, event_id=event_id)
    try:
        start_rollover(name, f"event {kind}", services)
    except BadInput as error:  # a certificate or enrollment that cannot be read; it will not get better by itself
        refuse_input("event", name, str(error), services)


def certificate_of(event_type: str | None, subject: str | None, data: Any, vault_url: str) -> str:
    """The name of the vault certificate that an event is about.

    Raises:
        BadInput: another type, another vault, or nothing that names a certificate.
    """
    if (event_type or "").strip() not in EVENT_TYPES:
        raise BadInput(f"event type {event_type!r} is not one of {', '.join(EVENT_TYPES)}")
    fields = _stripped(data)
    identifier = fields.get("id", "")
    if identifier:
        parts = _split(identifier)
        if parts.netloc.lower() != urlsplit(vault_url).netloc.lower():
            raise BadInput(f"the event is about the vault {parts.netloc!r}, not {urlsplit(vault_url).netloc!r}")
        path = parts.path.strip("/").split("/")
        if len(path) >= 2 and path[0] == "certificates" and path[1]:
            return _checked_name(path[1])
    vault = fields.get("vaultname")
    ours = (urlsplit(vault_url).hostname or "").partition(".")[0]
    if not identifier and vault and vault.lower() != ours.lower():
        raise BadInput(f"the event is about the vault {vault!r}, not {ours!r}")
    name = fields.get("objectname") or (subject or "").strip().removeprefix("certificates/").partition("/")[0]
    return _checked_name(name)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise BadInput("the event's ID is not the URL of a vault's certificate") from None


def _checked_name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise BadInput("the event names no certificate" if not name else "that is not the name of a certificate")
    return name


def _stripped(data: Any) -> dict[str, str]:
    if not isinstance(data, Mapping):
        raise BadInput("the event has no data object")
    return {str(key).strip().lower(): str(value).strip() for key, value in data.items() if value is not None}
