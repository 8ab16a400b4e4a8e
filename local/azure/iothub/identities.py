"""The JSON of a device identity: what a client may send, and what becomes of it."""

import base64
import random
import re
import secrets
from typing import Any

from local.azure.iothub.refusals import ArgumentInvalid
from local.azure.iothub.store import NEVER, Json

# docs, "Understand the identity registry": case-sensitive, up to 128 characters, ASCII 7-bit.
_DEVICE_ID = re.compile(r"[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}")
_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}")
_TYPES = ("sas", "selfSigned", "certificateAuthority", "none")
REASON_LENGTH = 128


def new_identity(device_id: str, body: Json) -> Json:
    """A fresh identity from the body of a create. ArgumentInvalid says what is wrong with it."""
    if not _DEVICE_ID.fullmatch(device_id):
        raise ArgumentInvalid("The device ID holds characters that are not allowed, or is too long.")
    identity: Json = {
        "deviceId": device_id,
        # Changes when an ID is deleted and created again (docs, "Understand the identity registry").
        "generationId": str(random.randrange(10**17, 10**18)),
        "etag": "",
        "connectionState": "Disconnected",
        "status": "enabled",
        "statusReason": None,
        "connectionStateUpdatedTime": NEVER,
        "statusUpdatedTime": NEVER,
        "lastActivityTime": NEVER,
        "cloudToDeviceMessageCount": 0,
    }
    return rewritten(identity, body, now=NEVER)


def rewritten(identity: Json, body: Json, *, now: str) -> Json:
    """`identity` after a PUT of `body`, with a new ETag.

    The whole identity is written: a capability, scope or reason that the body lacks is gone afterwards, as the clients
    of azure-iot-hub find out (`update_device_with_x509` sends iotEdge false unless told otherwise).
    """
    status = body.get("status") or "enabled"
    if status not in ("enabled", "disabled"):
        raise ArgumentInvalid("The status is neither enabled nor disabled.")
    reason = body.get("statusReason")
    if reason is not None and len(reason) > REASON_LENGTH:
        raise ArgumentInvalid(f"The status reason is longer than {REASON_LENGTH} characters.")
    return identity | {
        "etag": new_etag(),
        "status": status,
        "statusReason": reason,
        "statusUpdatedTime": identity["statusUpdatedTime"] if status == identity["status"] else now,
        "authentication": authentication(body.get("authentication") or {}),
        "capabilities": {"iotEdge": bool((body.get("capabilities") or {}).get("iotEdge"))},
        "deviceScope": body.get("deviceScope"),
        "parentScopes": body.get("parentScopes") or [],
    }


def authentication(given: Json) -> Json:
    """The `authentication` object as the hub keeps it; without a type it is what its members say, else `sas`."""
    thumbprints = given.get("x509Thumbprint") or {}
    kind = given.get("type") or ("selfSigned" if any(thumbprints.values()) else "sas")
    if kind not in _TYPES:
        raise ArgumentInvalid(f"The authentication type is none of {', '.join(_TYPES)}.")
    keys: Json = {"primaryKey": None, "secondaryKey": None}
    slots: Json = {"primaryThumbprint": None, "secondaryThumbprint": None}
    if kind == "sas":
        sent = given.get("symmetricKey") or {}
        keys = {name: sent.get(name) or base64.b64encode(secrets.token_bytes(32)).decode() for name in keys}
    elif kind == "selfSigned":
        slots = {name: thumbprint(thumbprints.get(name), name) for name in slots}
        if not any(slots.values()):
            raise ArgumentInvalid("A selfSigned identity needs a thumbprint.")
    return {"symmetricKey": keys, "x509Thumbprint": slots, "type": kind}


def thumbprint(given: Any, name: str) -> str | None:
    """SHA-1 (40 hex digits) or SHA-256 (64), in upper case; None for an empty slot. ArgumentInvalid otherwise."""
    if given in (None, ""):
        return None
    if not isinstance(given, str) or not _THUMBPRINT.fullmatch(given):
        raise ArgumentInvalid(f"Invalid format for {name}: 40 or 64 hexadecimal digits are needed.")
    return given.upper()


def new_etag() -> str:
    """An ETag as the hub makes them for identities: base64 of digits, e.g. NTEwOTM0NjY0."""
    return base64.b64encode(str(random.randrange(10**8, 10**9)).encode()).decode()
