"""Direct methods: one request to one connected device, and its answer.

docs, "Understand and invoke direct methods": delivered at most once, never queued. Not delivered (404103) and
delivered but not answered (504101) are different answers; so is a device that goes away meanwhile.
"""

import asyncio
import itertools
import json
import math
from typing import Any

from local.azure.iothub.refusals import (
    ArgumentInvalid,
    ArgumentNull,
    DeviceDidNotAnswer,
    DeviceNotFoundByMethod,
    DeviceNotOnline,
    MessageTooLarge,
)
from local.azure.iothub.sessions import Sessions
from local.azure.iothub.store import Json, Store

FILTER = "$iothub/methods/POST/#"
LARGEST_PAYLOAD = 128 * 1024
METERED = 4 * 1024  # docs: quotas and throttling, methods are metered in 4 KB
# docs: direct methods; (smallest, largest, default) in seconds.
RESPONSE_S = (5, 300, 30)
CONNECT_S = (0, 300, 0)
DEVICE_UNAVAILABLE = "Device unavailable"  # the device disconnected meanwhile (azure-iot-sdk-csharp#317)


class Methods:
    """Calls under way, by request ID."""

    def __init__(self, store: Store, sessions: Sessions) -> None:
        self._store = store
        self._sessions = sessions
        self._numbers = itertools.count(1)
        self._calls: dict[tuple[str, str], asyncio.Future[Json]] = {}
        self._waiting: dict[str, list[asyncio.Event]] = {}
        sessions.ended.append(self._gone)

    async def invoke(self, device_id: str, call: Json) -> Json:
        """Call a method (REST: Devices - Invoke Method): gives `status` and `payload`, both the device's own.

        `call` is the request's body. DeviceNotFoundByMethod, DeviceNotOnline (also when the device goes away before it
        answers, then the outcome is unknown), DeviceDidNotAnswer.
        """
        name, payload = check_call(call)
        if device_id not in self._store.devices:
            raise DeviceNotFoundByMethod(device_id)
        await self._wait_for_device(device_id, call.get("connectTimeoutInSeconds") or CONNECT_S[2])
        session = self._sessions.subscribed(device_id, FILTER)
        if session is None:
            raise DeviceNotOnline
        request_id = f"{next(self._numbers):x}"
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._calls[device_id, request_id] = answer
        try:
            async with asyncio.timeout(call.get("responseTimeoutInSeconds") or RESPONSE_S[2]):
                await session.publish(f"$iothub/methods/POST/{name}/?$rid={request_id}", payload)
                return await answer
        except TimeoutError:
            raise DeviceDidNotAnswer from None
        finally:
            del self._calls[device_id, request_id]

    def answered(self, device_id: str, request_id: str, status: int, payload: bytes) -> None:
        """A device's answer; one that nobody waits for any more is dropped."""
        answer = self._calls.get((device_id, request_id))
        if answer is not None and not answer.done():
            answer.set_result({"status": status, "payload": _decoded(payload)})

    def ready(self, device_id: str) -> None:
        """The device can take calls now."""
        for event in self._waiting.get(device_id, []):
            event.set()

    async def _wait_for_device(self, device_id: str, seconds: float) -> None:
        if not seconds or self._sessions.subscribed(device_id, FILTER):
            return
        event = asyncio.Event()
        self._waiting.setdefault(device_id, []).append(event)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self._waiting[device_id].remove(event)

    def _gone(self, device_id: str) -> None:
        for (called, _), answer in self._calls.items():
            if called == device_id and not answer.done():
                answer.set_exception(DeviceNotOnline(DEVICE_UNAVAILABLE))


def check_call(call: Json) -> tuple[str, bytes]:
    """The method's name and its payload as bytes; ArgumentInvalid, ArgumentNull or MessageTooLarge otherwise."""
    name = call.get("methodName")
    if not isinstance(name, str) or not name:
        raise ArgumentNull("The method name is missing.")
    _check_seconds(call, "responseTimeoutInSeconds", RESPONSE_S)
    _check_seconds(call, "connectTimeoutInSeconds", CONNECT_S)
    payload = json.dumps(call.get("payload"), separators=(",", ":")).encode()
    if len(payload) > LARGEST_PAYLOAD:
        raise MessageTooLarge(f"The payload is larger than {LARGEST_PAYLOAD // 1024} KB.")
    return name, payload


def metered_units(size: int) -> int:
    """How much of the quota a request of `size` bytes takes."""
    return max(1, math.ceil(size / METERED))


def _check_seconds(call: Json, name: str, limits: tuple[int, int, int]) -> None:
    seconds = call.get(name)
    if seconds is not None and not (isinstance(seconds, int) and limits[0] <= seconds <= limits[1]):
        raise ArgumentInvalid(f"{name} is between {limits[0]} and {limits[1]}.")


def _decoded(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload else None
    except ValueError:
        return payload.decode(errors="replace")
