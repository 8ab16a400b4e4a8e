"""The hub's resource log (category Connections) as Event Hubs delivers it: which devices were refused. Pure.

A tolerant reader, for the sources differ: messages are ``{"records": [...]}`` and files are JSON lines; ``properties``
is documented as JSON text and was captured as an object; codes are texts or numbers (azure-docs
monitor-iot-hub-reference, tutorial-use-metrics-and-diags, essentials/resource-logs-schema). No refused connect by
X.509 was ever published, so its shape is inferred from the codes (azure-docs troubleshoot-error-codes).

What the log cannot tell: which certificate was presented, and who presented it. The device ID is the client's claim.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.enrollment import parse_time
from shared.errors import BadInput

DEVICE_ID = r"(?!\.+\Z)[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}"
"""What a device may be called (azure-docs devguide-identity-registry, its older and its newer list). Dots alone would
be another path in the registry's URL."""
UNAUTHORIZED = r"401(\d{3})?"
NAMES = {"iothubunauthorized": "401003", "iothubunauthorizedaccess": "401002"}
"""Codes by what ``resultDescription`` calls them; "IoTHub" and "IotHub" are both seen."""
FINE = ("information", "informational", "info", "verbose")
SAMPLE = 200
UNREADABLE = "unreadable"


class Kind(StrEnum):
    """What a record is, taken by itself."""

    REFUSED = "refused"
    """A device was not let in: the only kind that is looked into."""
    CONNECTED = "connected"
    SAS = "sas"
    """A SAS token: its hourly end shows as 401003 of a deviceDisconnect (azure-docs troubleshoot-connectivity)."""
    TRANSPORT = "transport"
    """Network, quotas, a second client with the same ID: nothing about certificates."""
    OTHER_LOG = "other_log"
    OTHER_HUB = "other_hub"


@dataclass(frozen=True)
class Refusal:
    """A connect that the hub refused as unauthorized. ``device_id`` is what the client called itself."""

    device_id: str
    at: datetime | None


@dataclass
class Reading:
    """What a batch holds."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """The latest of each claimed device ID."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """How many records could not be read, by the reason."""
    samples: dict[str, str] = field(default_factory=dict)
    """The beginning of one of them, by the reason."""


def read_batch(bodies: Iterable[bytes], hub_name: str) -> Reading:
    """Read every record of every message; one that cannot be read is counted and stops no other."""
    reading = Reading()
    for body in bodies:
        for entry in _entries(body):
            try:
                kind, refusal = _read(entry, hub_name)
            except BadInput as error:
                reading.unreadable[str(error)] += 1
                if str(error) not in reading.samples:
                    reading.samples[str(error)] = _sample(entry)
                continue
            reading.kinds[kind] += 1
            if refusal is not None:
                _keep_latest(reading.refusals, refusal)
    return reading


def _keep_latest(found: dict[str, Refusal], refusal: Refusal) -> None:
    before = found.setdefault(refusal.device_id, refusal)
    if refusal.at is not None and (before.at is None or refusal.at > before.at):
        found[refusal.device_id] = refusal


@dataclass(frozen=True)
class _Broken:
    """What stands in the place of records and is none."""

    reason: str
    text: str


def _entries(body: bytes) -> Iterator[Any]:
    """The records of one message, whatever it is wrapped in."""
    text = body.decode("utf-8-sig", "replace").strip()
    if not text:
        yield _Broken("an empty message", "")
        return
    whole = _json(text)
    if not isinstance(whole, _Broken) or "\n" not in text:
        yield from _unwrapped(whole)
        return
    for line in filter(None, map(str.strip, text.split("\n"))):
        yield from _unwrapped(_json(line))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return _Broken("a message that is not JSON", text[:SAMPLE])
    except RecursionError:
        return _Broken("a message nested too deep", text[:SAMPLE])


def _unwrapped(value: Any) -> Iterator[Any]:
    for wrapped in value if isinstance(value, list) else [value]:
        records = _lower(wrapped).get("records", wrapped) if isinstance(wrapped, Mapping) else wrapped
        yield from records if isinstance(records, list) else [records]


def _read(record: Any, hub_name: str) -> tuple[Kind, Refusal | None]:
    if isinstance(record, _Broken):
        raise BadInput(record.reason)
    if not isinstance(record, Mapping):
        raise BadInput("a record that is no object")
    fields = _lower(record)
    operation = _text(fields, "operationname").lower()
    if _text(fields, "category").lower() not in ("connections", ""):
        return Kind.OTHER_LOG, None
    if not operation:
        raise BadInput("a record without an operation name")
    if operation not in ("deviceconnect", "devicedisconnect"):
        return Kind.OTHER_LOG, None
    if not _is_of(hub_name, _text(fields, "resourceid")):
        return Kind.OTHER_HUB, None
    properties = _object(fields.get("properties", fields.get("properties_s")), "properties")
    code = _code(fields, properties)
    unauthorized = re.fullmatch(UNAUTHORIZED, code) is not None
    if operation == "devicedisconnect":
        return (Kind.SAS if unauthorized else Kind.TRANSPORT), None
    level = _text(fields, "level").lower()
    if level in FINE or not (level or code):
        return Kind.CONNECTED, None
    if not code:
        raise BadInput("a failed connect without a code")
    if not unauthorized:
        return Kind.TRANSPORT, None
    if _is_sas(properties):
        return Kind.SAS, None
    return Kind.REFUSED, Refusal(_device_id(properties.get("deviceid")), _time(fields.get("time")))


def _is_of(hub_name: str, resource_id: str) -> bool:
    """Whether a record is of this hub; one event hub may take the logs of several. Log resource IDs are upper-case."""
    parts = resource_id.lower().strip("/").split("/")
    return not resource_id or parts[-2:] == ["iothubs", hub_name.lower()]


def _code(fields: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """The code, six digits or the three of an HTTP status; empty when there is none."""
    for value in (fields.get("resulttype"), fields.get("resultsignature"), properties.get("statuscode")):
        if number := _digits(value):
            return number
    for name in ("resultdescription", "resulttype"):
        if code := NAMES.get(_text(fields, name).lower()):
            return code
    return ""


def _digits(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        text = str(value).strip()
        return text if re.fullmatch(r"[0-9]{1,9}", text) else ""
    return ""


def _is_sas(properties: Mapping[str, Any]) -> bool:
    """Whether the client came with a SAS token. Of a refused connect ``authType`` is usually null."""
    try:
        return _text(_object(properties.get("authtype"), "authType"), "type").lower() == "sas"
    except BadInput:
        return False


def _device_id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(DEVICE_ID, value, re.ASCII):
        raise BadInput("a refused connect whose device ID no device can have")
    return value


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value.strip())
    except (AttributeError, ValueError, OverflowError):
        return None


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = _json(value) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadInput(f"a record whose {name} are no object")
    return _lower(value)


def _lower(record: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key).strip().lower(): value for key, value in record.items()}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        if name in ("operationname", "category", "resourceid"):
            raise BadInput(f"a record whose {name} is no text")
        return ""
    return value.strip()


def _sample(entry: Any) -> str:
    try:
        return entry.text if isinstance(entry, _Broken) else repr(entry)[:SAMPLE]
    except RecursionError:
        return "nested too deep to be shown"
