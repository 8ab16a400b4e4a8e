"""How DPS says no, in its own words.

Error codes are the HTTP status and three digits. Seen in the wild: 400004, 401002, 404201, 409201 (recorded),
429001; the others here are built after that pattern. Bodies carry the code under `code` and `errorCode`,
because both spellings occur (azure-sdk-for-python#35368 prints the one, ProvisioningServiceErrorDetails names
the other).
"""

import math
import uuid
from typing import Any

from local.azure.clock import Clock
from local.azure.dps.stamps import moment
from local.azure.http import Refusal


class DpsRefusal(Refusal):
    """A refusal with a six-digit code and a message."""

    code = 400004
    words = "The request is invalid."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.words)


class BadRequest(DpsRefusal):
    """The request is malformed or breaks a rule; the message names it."""


class Unauthorized(DpsRefusal):
    """No valid credential, or no entry that admits the device; what the messages mean is in `admission`."""

    status, code, words = 401, 401002, "Unauthorized"


class Forbidden(DpsRefusal):
    """A good token of a principal without the role (azure-iot-deviceprovisioning README: 403)."""

    status, code, words = 403, 403001, "Forbidden"


class NotFound(DpsRefusal):
    """There is no such enrollment, group, registration or operation."""

    status, code, words = 404, 404201, "Not found."


class AlreadyExists(DpsRefusal):
    """A write without an etag meets an entry that exists.

    azure-sdk-for-python#35187; the words were recorded in a bulk (2023).
    """

    status, code, words = 409, 409201, "Enrollment already exists."


class CertificateInUse(DpsRefusal):
    """The certificate is in another entry.

    azure-docs concepts-x509-attestation forbids it; status and code are a guess.
    """

    status, code, words = 409, 409201, "An enrollment with the same certificate already exists."


class EtagMismatch(DpsRefusal):
    """The entry changed since it was read (azure-docs how-to-troubleshoot-dps: 412)."""

    status, code, words = 412, 412201, "Precondition failed: the etag does not match."


class TooManyRequests(DpsRefusal):
    """A quota is used up; `retry_after` in seconds, or None when the answer does not tell."""

    status, code, words = 429, 429001, "Operations are being throttled for the tenant. Try again later."

    def __init__(self, retry_after: float | None) -> None:
        super().__init__()
        self.retry_after = None if retry_after is None else max(1, math.ceil(retry_after))

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class NotEmulated(DpsRefusal):
    """Azure can do this, the stand-in cannot; the message names it."""

    status, code = 501, 501000


def error_body(refusal: DpsRefusal, clock: Clock) -> dict[str, Any]:
    """The JSON of a refusal (REST: ProvisioningServiceErrorDetails)."""
    return {
        "code": refusal.code,
        "errorCode": refusal.code,
        "trackingId": str(uuid.uuid4()),
        "message": str(refusal),
        "timestampUtc": moment(clock.now()),
    }
