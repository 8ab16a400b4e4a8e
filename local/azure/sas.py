"""Shared access signatures, as IoT Hub and DPS check them.

Clients differ in field order, in what they percent-encode and in how they name the resource, so the token is
taken apart and computed again over `sr` exactly as it was sent (docs: "Control access to IoT Hub by using shared
access signatures").
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote

from local.azure.clock import Clock

SCHEME = "SharedAccessSignature "


class BadSignature(ValueError):
    """The header is no valid token for this host; the text says why and holds nothing of the token."""


def verify(header: str, policies: Mapping[str, str], *, host: str, clock: Clock) -> str:
    """The name of the policy that signed `header`; BadSignature otherwise.

    `policies` maps a policy's name to its base64 key. The resource must be `host`, with or without scheme, port and
    path. A token is out of date only when both the stand-in's clock and the real one say so: a client signs by
    its own clock, and may not know that the stand-in's was moved.
    """
    if not header.startswith(SCHEME):
        raise BadSignature("not a shared access signature")
    fields = dict(part.partition("=")[::2] for part in header.removeprefix(SCHEME).strip().split("&"))
    if missing := {"sr", "sig", "se"} - set(fields):
        raise BadSignature(f"the token lacks {', '.join(sorted(missing))}")
    policy = unquote(fields.get("skn", ""))
    if policy not in policies:
        raise BadSignature("the token names no policy of this service")
    _check_resource(unquote(fields["sr"]), host)
    _check_signature(fields["sr"], fields["se"], unquote(fields["sig"]), policies[policy])
    _check_expiry(fields["se"], clock)
    return policy


def sign(resource: str, policy: str, key: str, expiry: int) -> str:
    """A token for `resource` (already percent-encoded) valid until `expiry` (seconds since 1970)."""
    signature = _signature(resource, str(expiry), key)
    quoted = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return f"{SCHEME}sr={resource}&sig={quoted}&se={expiry}&skn={policy}"


def _signature(resource: str, expiry: str, key: str) -> str:
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _check_resource(resource: str, host: str) -> None:
    named = resource.removeprefix("https://").removeprefix("http://").split("/", 1)[0]
    if named.rsplit(":", 1)[0].lower() != host.lower():
        raise BadSignature("the token is for another resource")


def _check_signature(resource: str, expiry: str, signature: str, key: str) -> None:
    if not hmac.compare_digest(_signature(resource, expiry, key).encode(), signature.encode()):
        raise BadSignature("the signature does not match")


def _check_expiry(expiry: str, clock: Clock) -> None:
    if not expiry.isdigit():
        raise BadSignature("the expiry is not a number")
    if int(expiry) < min(clock.now(), clock.real()).timestamp():
        raise BadSignature("the token is out of date")
