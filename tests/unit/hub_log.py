"""Records of the hub's log as they are documented, captured, feared: a labelled corpus.

Sources: azure-docs monitor-iot-hub-reference (template, ``properties`` as text), tutorial-use-metrics-and-diags
(captured connects and disconnects, ``properties`` as object), troubleshoot-error-codes, -connectivity (codes, noise),
essentials/resource-logs-schema (common fields, spellings). The refused connect itself is inferred from them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.builders import DEVICE

RESOURCE = "/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/HUB"
SAS = '{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
X509 = '{"scope":"device","type":"x509Certificate","issuer":"external","acceptingIpFilterRule":null}'
OTHER_NAME = "pump-7"
"""The device ID of the story's device where it is not its registration ID."""
OF_GROUP = "pump-1"
"""A device of the group's story."""
GONE = object()
"""In the place of a value: the member is not there."""


def a_record(inner: Mapping[str, Any] | None = None, /, *, as_text: bool = True, **changes: Any) -> dict[str, Any]:
    """A refused connect of the story's device, with changes; ``inner`` are those of its properties."""
    properties = {
        "deviceId": DEVICE,
        "protocol": "Mqtt",
        "authType": None,
        "maskedIpAddress": "73.162.215.XXX",
        "statusCode": "401",
        **(inner or {}),
    }
    properties = {name: value for name, value in properties.items() if value is not GONE}
    record = {
        "time": "2026-11-24T12:08:33.1036736Z",
        "resourceId": RESOURCE,
        "operationName": "deviceConnect",
        "category": "Connections",
        "level": "Error",
        "resultType": "401003",
        "resultDescription": "IoTHubUnauthorized",
        "properties": json.dumps(properties) if as_text else properties,
        "location": "westeurope",
        **changes,
    }
    return {name: value for name, value in record.items() if value is not GONE}


def message(*records: Any) -> bytes:
    """An Event Hubs message as Azure Monitor writes it."""
    return json.dumps({"records": list(records)}).encode()


def lines(*records: Any) -> bytes:
    """JSON lines, as in the files of a storage account."""
    return "\r\n".join(json.dumps(record) for record in records).encode()


@dataclass(frozen=True)
class Case:
    """A message, the situation of its device, and what must come of it."""

    label: str
    body: bytes
    situation: str = "rolled early"
    """Noise is tried where a single mistake would begin a rollover."""


def _renamed(**names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in a_record().items()}


def _disconnect(code: Any, name: str, **changes: Any) -> dict[str, Any]:
    return a_record(operationName="deviceDisconnect", resultType=code, resultDescription=name, **changes)


def _connect_failed(code: str, name: str) -> bytes:
    return message(a_record({"statusCode": code[:3]}, resultType=code, resultDescription=name))


CONNECTED = {"level": "Information", "resultType": GONE, "resultDescription": GONE}
ANALYTICS = dict(  # noqa: C408  pairs of names
    time="TimeGenerated",
    operationName="OperationName",
    category="Category",
    level="Level",
    resultType="ResultType",
    resultDescription="ResultDescription",
    resourceId="ResourceId",
    properties="properties_s",
)
ROUTE = {
    "time": "2019-12-12T03:25:14Z",
    "resourceId": RESOURCE,
    "operationName": "endpointUnhealthy",
    "category": "Routes",
    "level": "Error",
    "resultType": "403004",
    "resultDescription": "DeviceMaximumQueueDepthExceeded",
    "properties": '{"deviceId":null,"endpointName":"anon-sb-1","statusCode":"403"}',
}
REAL = "rolled_early"

REFUSALS = {
    "properties as text, as documented": message(a_record()),
    "properties as object, as captured in 2018": message(a_record(as_text=False)),
    "a code that is a number": message(a_record(resultType=401003)),
    "a code with blanks": message(a_record(resultType=" 401003 ")),
    "a code that is a float": message(a_record(resultType=401003.0)),
    "401002, unauthorized access": message(a_record(resultType="401002", resultDescription="IotHubUnauthorizedAccess")),
    "the status alone, as text": message(a_record(resultType=GONE, resultDescription=GONE)),
    "the status alone, as number": message(a_record({"statusCode": 401}, resultType=GONE, resultDescription=GONE)),
    "the status as resultSignature": message(a_record({"statusCode": None}, resultType=GONE, resultSignature="401")),
    "no code but its name": message(a_record({"statusCode": None}, resultType=GONE)),
    "its name in the code's place": message(a_record({"statusCode": GONE}, resultType="IotHubUnauthorized")),
    "spelled IotHubUnauthorized": message(a_record(resultDescription="IotHubUnauthorized")),
    "a long description with thumbprints": message(
        a_record(resultDescription="Thumbprint does not match configuration: Thumbprint: SHA1Hash=*, SHA2Hash=*")
    ),
    "Level with a capital": message(_renamed(level="Level")),
    "no level": message(a_record(level=GONE)),
    "a level of another case": message(a_record(level="ERROR")),
    "a warning": message(a_record(level="Warning")),
    "authType missing": message(a_record({"authType": GONE})),
    "authType as text": message(a_record({"authType": X509})),
    "authType as object": message(a_record({"authType": json.loads(X509)}, as_text=False)),
    "authType that is nonsense": message(a_record({"authType": "x509, perhaps"})),
    "AMQP": message(a_record({"protocol": "Amqp"})),
    "members that nobody knows": message(a_record({"errorMessage": "", "sdkVersion": "x"}, operationVersion="1")),
    "keys with blanks and a value with one": message(
        {f" {name} ": value for name, value in a_record(operationName=" deviceConnect ").items()}
    ),
    "as Log Analytics spells it": message(_renamed(**ANALYTICS)),
    "no category": message(a_record(category=GONE)),
    "a category of another case": message(a_record(category="connections")),
    "no resource ID": message(a_record(resourceId=GONE)),
    "a resource ID of lower case, with a slash at its end": message(a_record(resourceId=RESOURCE.lower() + "/")),
    "no time": message(a_record(time=GONE)),
    "a time that is none": message(a_record(time=" UTC timestamp")),
    "a time before all times": message(a_record(time="0001-01-01T00:00:00+14:00")),
    "one record, not wrapped": json.dumps(a_record()).encode(),
    "a list of records": json.dumps([a_record()]).encode(),
    "records that is one record": json.dumps({"Records": a_record()}).encode(),
    "a list of messages": json.dumps([{"records": [a_record()]}]).encode(),
    "JSON lines": lines(a_record(**CONNECTED), a_record()),
    "a byte order mark": b"\xef\xbb\xbf" + message(a_record()),
    "beside a broken line": b'{"time": \n' + lines(a_record()),
    "beside records that are none": message(7, None, [], a_record(), "text"),
    "the same twice": message(a_record(), a_record()),
    "after a connect of the same device, out of order": message(a_record(), a_record(**CONNECTED)),
    "beside a flood of noise": message(*[_disconnect("404104", "DeviceConnectionClosedRemotely")] * 300, a_record()),
}
NOISE = {
    "a connect as documented": ("connected", message(a_record({"authType": SAS, "statusCode": None}, **CONNECTED))),
    "a connect by X.509": ("connected", message(a_record({"authType": X509, "statusCode": None}, **CONNECTED))),
    "a connect as captured, by object": (
        "connected",
        message(a_record({"statusCode": None}, as_text=False, **CONNECTED)),
    ),
    "a connect that is Informational": (
        "connected",
        message(a_record({"statusCode": None}, **{**CONNECTED, "level": "Informational"})),
    ),
    "a connect without a level": (
        "connected",
        message(a_record({"statusCode": None}, **{**CONNECTED, "level": GONE})),
    ),
    "a SAS token that ran out": ("sas", message(_disconnect("401003", "IoTHubUnauthorized"))),
    "a SAS token that ran out, as number": ("sas", message(_disconnect(401003, "IotHubUnauthorized"))),
    "a SAS token that ran out, by object": (
        "sas",
        message(_disconnect("401003", "IoTHubUnauthorized", as_text=False)),
    ),
    "a SAS token that was refused": ("sas", message(a_record({"authType": SAS}))),
    "a whole SAS renewal": (
        "sas",
        message(
            _disconnect("401003", "IoTHubUnauthorized"),
            _disconnect("404104", "DeviceConnectionClosedRemotely"),
            a_record({"authType": SAS, "statusCode": None}, **CONNECTED),
        ),
    ),
    "a network drop as captured": (
        "transport",
        message(_disconnect("404104", "DeviceConnectionClosedRemotely", as_text=False)),
    ),
    "a disconnect without a code": ("transport", message(_disconnect(GONE, GONE, properties={"deviceId": DEVICE}))),
    "a second client of the same ID": (
        "transport",
        message(_disconnect("400027", "ConnectionForcefullyClosedOnNewConnection")),
    ),
    "a second client at connect": ("transport", _connect_failed("400027", "ConnectionForcefullyClosedOnNewConnection")),
    "a link conflict": ("transport", _connect_failed("409002", "LinkCreationConflict")),
    "throttled": ("transport", _connect_failed("429001", "ThrottlingException")),
    "over its quota": ("transport", _connect_failed("403002", "IoTHubQuotaExceeded")),
    "a server error": ("transport", _connect_failed("500001", "ServerError")),
    "a server error of another code": ("transport", _connect_failed("500008", "GenericTimeout")),
    "a device that the service looked for": ("transport", _connect_failed("404001", "DeviceNotFound")),
    "device not online": ("transport", _connect_failed("404103", "DeviceNotOnline")),
    "a code that only begins like it": ("transport", _connect_failed("4010", "?")),
    "routes": ("other_log", message(ROUTE)),
    "device telemetry errors": ("other_log", message(a_record(category="DeviceTelemetry", operationName="ingress"))),
    "twin queries": ("other_log", message(a_record(category="TwinQueries"))),
    "the provisioning service's log": (
        "other_log",
        message(a_record(category="DeviceOperations", operationName="AttestationAttempt", resultType="Unauthorized")),
    ),
    "another operation of the category": ("other_log", message(a_record(operationName="moduleConnect"))),
    "another hub": ("other_hub", message(a_record(resourceId=RESOURCE + "2"))),
    "a hub whose name only ends alike": ("other_hub", message(a_record(resourceId=RESOURCE.replace("HUB", "MY-HUB")))),
    "a resource that is no hub": (
        "other_hub",
        message(a_record(resourceId=RESOURCE.replace("IOTHUBS", "PROVISIONINGSERVICES"))),
    ),
}
HOSTILE = {
    "nothing": b"",
    "blanks": b" \r\n ",
    "not JSON": b"<records/>",
    "not even text": bytes(range(256)),
    "half a message": message(a_record())[:-40],
    "nested too deep": b"[" * 100_000,
    "nested too deep within": message(a_record(properties="[" * 100_000)),
    "a number with too many digits": b'{"records": [' + b"9" * 10_000 + b"]}",
    "one huge text": json.dumps("x" * 1_000_000).encode(),
    "a thousand records that are none": message(*range(1000)),
    "an object of nothing": b"{}",
    "operations monitoring, retired": message(
        a_record(
            resultType=GONE, resultDescription=GONE, properties=GONE, statusCode=401, statusType=401003, deviceId=DEVICE
        )
    ),
    "a category that is no text": message(a_record(category={"name": "Connections"})),
    "an operation that is no text": message(a_record(operationName=["deviceConnect"])),
    "a resource ID that is no text": message(a_record(resourceId=[RESOURCE])),
    "properties that are a list": message(a_record(properties=[DEVICE])),
    "properties that are not JSON": message(a_record(properties="deviceId=dev-01")),
    "properties that are missing": message(a_record(properties=GONE)),
    "no device ID": message(a_record({"deviceId": GONE})),
    "a device ID that is null": message(a_record({"deviceId": None})),
    "a device ID that is a number": message(a_record({"deviceId": 1})),
    "a device ID that is an object": message(a_record({"deviceId": {"$ne": ""}}, as_text=False)),
    "a device ID of a path": message(a_record({"deviceId": "../dev-01"})),
    "a device ID of dots": message(a_record({"deviceId": ".."})),
    "a device ID with a line break": message(a_record({"deviceId": "dev-01\nrollover_started"})),
    "a device ID with half a character": message(a_record({"deviceId": "dev\ud800"})),
    "a device ID that is too long": message(a_record({"deviceId": "d" * 129})),
    "a failure without a code": message(a_record({"statusCode": None}, resultType="Failure", resultDescription=GONE)),
    "a code that is true": message(a_record({"statusCode": True}, resultType=True, resultDescription=GONE)),
}
CLAIMS = {
    "with a quote in it": "dev-01'OR'1'='1",
    "like a query": "*",
    "with percent signs": "dev%2D01",
    "of other letters' case": "Dev-01",
    "of nobody": "dev-99",
}
"""Device IDs that a device may have, and none of ours has."""
SITUATIONS = {
    "in flight": "in_flight",
    "contained": "breached_certificate_tried",
    "contained, identity disabled": "breached_certificate_tried",
    "contained, needs a person": "breached_certificate_tried",
    "taken over": "never_issued",
    "taken over, and the vault is ahead": "never_issued",
    "all is well": "unexplained",
    "nothing to present": "unexplained",
    "disabled at DPS": "kept_out",
    "disabled at the hub": "kept_out",
    "disallowed": "kept_out",
    "lets in by SAS": "not_by_certificate",
    "the vault's newer version is compromised": "unexplained",
    "the vault's newer version is disabled": "unexplained",
}
GROUP_SITUATIONS = {
    "of a group, its rollover in flight": "in_flight",
    "of a group, its breach not contained yet": "in_flight",
    "of a group, contained": "breached_certificate_tried",
    "of a group, contained and back": "in_flight",
    "of a group, nothing open": "of_group",
    "of a group, pinned to a thumbprint of nobody": "of_group",
    "of a group, disabled at the hub": "kept_out",
    "of a group, with an enrollment of its own": "not_ours",
}

CORPUS: dict[str, Case] = {
    **{f"refused: {name}": Case(REAL, body) for name, body in REFUSALS.items()},
    **{f"noise: {name}": Case(label, body) for name, (label, body) in NOISE.items()},
    **{f"hostile: {name}": Case("unreadable", body) for name, body in HOSTILE.items()},
    **{f"claim: a device ID {n}": Case("not_ours", message(a_record({"deviceId": c}))) for n, c in CLAIMS.items()},
    **{f"situation: {name}": Case(label, message(a_record()), name) for name, label in SITUATIONS.items()},
    **{
        f"situation: {name}": Case(label, message(a_record({"deviceId": OF_GROUP})), name)
        for name, label in GROUP_SITUATIONS.items()
    },
    "situation: registered under another name": Case(
        REAL, message(a_record({"deviceId": OTHER_NAME})), "registered under another name"
    ),
    "situation: contained, after it was refused": Case(
        "in_flight", message(a_record(time="2026-11-24T11:59:59Z")), "contained"
    ),
}
