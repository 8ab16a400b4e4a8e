"""How IoT Hub says no, in its own words and numbers.

Numbers and names are those of ErrorCode.cs in azure-iot-sdk-csharp; the first three digits are the HTTP status. Most
bodies are `{"Message": "ErrorCode:Name;text", "ExceptionMessage": "Tracking ID:…"}` with the header
`iothub-errorcode`; direct methods answer with a JSON document as text in `Message` (azure-iot-sdk-csharp#3442).
"""

import json
import math
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from local.azure.clock import Clock
from local.azure.http import Refusal, json_reply


class HubRefusal(Refusal):
    """One subclass per error; `code` has six digits. `as_document` picks the form of the body."""

    code = 400004
    name = "ArgumentInvalid"
    text = "BadRequest"
    as_document = False

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.text)
        self.status = self.code // 1000

    def hub_body(self, now: datetime) -> dict[str, Any]:
        """The JSON body; `now` goes into its time stamps."""
        tracking, stamp = uuid.uuid4().hex, f"{now:%m/%d/%Y %H:%M:%S}"
        if not self.as_document:
            message = f"ErrorCode:{self.name};{self}"
            return {"Message": message, "ExceptionMessage": f"Tracking ID:{tracking}-G:0-TimeStamp:{stamp}"}
        document = {
            "errorCode": self.code,
            "trackingId": f"{tracking}-TimeStamp:{stamp}",
            "message": str(self),
            "info": {"timeout": "00:00:00"},
            "timestampUtc": f"{now:%Y-%m-%dT%H:%M:%S.%f}0Z",
        }
        return {"Message": json.dumps(document, separators=(",", ":")), "ExceptionMessage": ""}

    def headers(self) -> dict[str, str]:
        return {"iothub-errorcode": self.name}


class ArgumentInvalid(HubRefusal):
    """Something in the request is not what it must be."""


class ArgumentNull(HubRefusal):
    """Something that the request must have is missing."""

    code, name = 400005, "ArgumentNull"


class DeviceDefinedMultipleTimes(HubRefusal):
    """A device may appear once in a bulk call."""

    code, name, text = 400011, "DeviceDefinedMultipleTimes", "The device is defined more than once."


class JobNotCancellable(HubRefusal):
    """Only a scheduled job can be cancelled (live tests of azure-iot-cli-extension wait for that state)."""

    code, name = 400003, "InvalidOperation"


class UnauthorizedAccess(HubRefusal):
    """No token, a wrong one, or a shared access policy without the right."""

    code, name, text = 401002, "IotHubUnauthorizedAccess", "Unauthorized"


class Unauthorized(HubRefusal):
    """A principal without the role: 401 and not 403 (azure-iot-sdk-csharp#3344, azure-sdk-for-net#21453)."""

    code, name = 401003, "IotHubUnauthorized"


class DeviceNotFound(HubRefusal):
    """There is no such device identity."""

    code, name = 404001, "DeviceNotFound"

    def __init__(self, device_id: str) -> None:
        super().__init__(f"The device {device_id} is not registered.")


class DeviceNotFoundByMethod(DeviceNotFound):
    """The same, as direct methods say it."""

    as_document = True


class JobNotFound(HubRefusal):
    """There is no such job."""

    code, name = 404002, "JobNotFound"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The job {job_id} does not exist.")


class DeviceNotOnline(HubRefusal):
    """A method that cannot be delivered: the device is away, or did not subscribe (azure-iot-sdk-csharp#3442)."""

    code, name, as_document = 404103, "DeviceNotOnline", True
    text = (
        "The operation failed because the requested device isn't online or hasn't registered the direct method "
        "callback. To learn more, see https://aka.ms/iothub404103"
    )


class DeviceAlreadyExists(HubRefusal):
    """Creating an identity that exists."""

    code, name = 409001, "DeviceAlreadyExists"

    def __init__(self, device_id: str) -> None:
        super().__init__(f"A device with ID '{device_id}' is already registered.")


class JobAlreadyExists(HubRefusal):
    """A job ID was used before. Documented as refused; its number is not, so this one is made up."""

    code, name = 409000, "JobAlreadyExists"


class PreconditionFailed(HubRefusal):
    """The ETag of If-Match is not the current one."""

    code, name, text = 412001, "PreconditionFailed", "Precondition failed: the ETag does not match."


class MessageTooLarge(HubRefusal):
    """A method's payload over 128 KB."""

    code, name = 413001, "MessageTooLarge"


class TooManyDevices(HubRefusal):
    """More than a hundred devices in a bulk call: 400, although the number says otherwise (REST: Bulk Registry)."""

    code, name, text = 413002, "TooManyDevices", "No more than 100 devices are possible in one call."

    def __init__(self) -> None:
        super().__init__()
        self.status = 400


class Throttled(HubRefusal):
    """Over a quota. Whether Retry-After goes with it is a knob (`service_retry_after`)."""

    code, name, text = 429001, "ThrottlingException", "Throttling limit exceeded. Please try again later."

    def __init__(self, retry_after_s: float | None) -> None:
        super().__init__()
        self._retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        later = {} if self._retry_after_s is None else {"Retry-After": str(math.ceil(self._retry_after_s))}
        return super().headers() | later


class TooManyActiveJobs(HubRefusal):
    """More jobs at once than the tier allows."""

    code, name, text = 429004, "ThrottlingMaxActiveJobCountExceeded", "The limit of active jobs is reached."


class DeviceDidNotAnswer(HubRefusal):
    """A method was delivered and nothing came back in time: its outcome is unknown (azure-iot-sdk-csharp#1139)."""

    code, name, as_document = 504101, "GatewayTimeout", True
    text = "Timed out waiting for the response from device."


def refusal_reply(clock: Clock) -> Callable[[Refusal, web.Request], web.Response]:
    """What turns a refusal into a response, with the time of the stand-in's clock."""

    def reply(refusal: Refusal, request: web.Request) -> web.Response:
        body = refusal.hub_body(clock.now()) if isinstance(refusal, HubRefusal) else refusal.body(request)
        return json_reply(refusal.status, body, refusal.headers())

    return reply
