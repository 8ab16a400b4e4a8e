"""Registering: a device is admitted, and a little later it has an identity at the hub, or knows why not.

What DPS writes to the hub is the surprising part: type selfSigned always, and the SHA-256 of the leaf that
was just presented in both slots, not the enrollment's certificates (azure-iot-sdk-java#253 and #1220,
iotedge#2951).
"""

import asyncio
import hashlib
import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from local.azure import x509
from local.azure.dps.admission import Admission, Admissions
from local.azure.dps.entries import Entry
from local.azure.dps.refusals import BadRequest, NotEmulated, NotFound, TooManyRequests, Unauthorized
from local.azure.dps.registrations import Registrations
from local.azure.http import Refusal

if TYPE_CHECKING:
    from local.azure.world import World

log = logging.getLogger(__name__)
KEPT = 10_000
# A fault rule with this operation (kind "status") makes the hub refuse DPS: the registration ends as
# "failed".
HUB_WRITE = "AssignToHub"
Policy = Literal["migrate", "reset", "never"]


@dataclass
class Assignment:
    """One registration under way. `result` is the device's registration state once there is one."""

    operation_id: str
    registration_id: str
    sha256: str
    address: str | None
    result: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """REST: RegistrationOperationStatus."""
        if self.result is None:
            return {"operationId": self.operation_id, "status": "assigning"}
        return {
            "operationId": self.operation_id,
            "status": self.result["status"],
            "registrationState": self.result,
        }


class Assignments:
    """The registrations under way, and how each one ends."""

    def __init__(self, world: "World", admissions: Admissions, registrations: Registrations) -> None:
        self._world = world
        self._admissions = admissions
        self._registrations = registrations
        self._kept: dict[str, Assignment] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._last_success: dict[str, tuple[str, datetime]] = {}

    def register(
        self, registration_id: str, presented: list[bytes], body: object, api_version: str, address: str | None
    ) -> Assignment:
        """Admit a device, or refuse. The entry is judged now; the hub is written `assign_delay_s` later.

        So a registration under way still ends at the hub if its entry is disabled meanwhile, unless a knob says no.
        """
        asked = _checked(registration_id, body)
        if asked.get("csr") is not None:
            raise NotEmulated("not emulated: registering with a certificate signing request")
        admission = self._admit(registration_id, presented)
        if admission.entry.enabled and admission.entry.document.get("allocationPolicy") == "custom":
            raise NotEmulated("not emulated: custom allocation")
        sha256 = x509.sha256_thumbprint(presented[0])
        one = Assignment(_operation_id(registration_id), registration_id, sha256, address)
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[one.operation_id] = one
        if self._registrations.find(registration_id) is None:
            self._registrations.record(registration_id, admission.owner, sha256, {"status": "assigning"})

        def finish() -> None:
            self._timers.discard(timer)
            self._finish(one, admission, presented[0], api_version)

        timer = asyncio.get_running_loop().call_later(self._world.knobs.assign_delay_s, finish)
        self._timers.add(timer)
        return one

    def look_at(self, registration_id: str, presented: list[bytes], operation_id: str) -> Assignment:
        """A registration under way, for the device that started it.

        It may ask 5 times in 10 s (azure-docs about-iot-dps).
        """
        wait = self._world.throttles.take("dps", "poll", key=registration_id.lower())
        if wait is not None:
            raise TooManyRequests(wait)
        one = self._kept.get(operation_id)
        if one is None or one.registration_id.lower() != registration_id.lower():
            raise NotFound("Operation not found.")
        if not presented or x509.sha256_thumbprint(presented[0]) != one.sha256:
            raise Unauthorized
        return one

    def look_up(self, registration_id: str, presented: list[bytes], body: object) -> dict[str, Any]:
        """The device's own registration state (REST: Device Registration Status Lookup)."""
        if _checked(registration_id, body).get("csr") is not None:
            raise BadRequest("A registration status lookup takes no csr.")
        self._admit(registration_id, presented)
        return self._registrations.get(registration_id).state

    def clear(self) -> None:
        """Forget everything; what is under way never ends."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._kept.clear()
        self._last_success.clear()

    def _admit(self, registration_id: str, presented: list[bytes]) -> Admission:
        now = self._world.clock.now()
        admission = self._admissions.admit(registration_id, presented, now)
        sha256, when = self._last_success.get(registration_id.lower(), ("", now))
        cached = timedelta(seconds=self._world.knobs.register_auth_cache_s)
        if sha256 not in ("", x509.sha256_thumbprint(presented[0])) and now < when + cached:
            raise Unauthorized
        return admission

    def _finish(self, one: Assignment, admission: Admission, leaf: bytes, api_version: str) -> None:
        outcome = self._outcome(one, admission)
        state = self._registrations.record(one.registration_id, admission.owner, one.sha256, outcome)
        if outcome["status"] == "assigned":
            self._last_success[one.registration_id.lower()] = (one.sha256, self._world.clock.now())
        one.result = _device_view(state, admission, leaf, api_version)
        self._world.journal.append(
            "registration",
            service="dps",
            registration_id=one.registration_id,
            device_id=outcome.get("deviceId"),
            status=outcome["status"],
            substatus=outcome.get("substatus"),
            sha256=one.sha256,
            address=one.address,
            hub=outcome.get("assignedHub"),
            entry=admission.entry.id,
        )

    def _outcome(self, one: Assignment, admission: Admission) -> dict[str, Any]:
        entry, hub = admission.entry, self._world.hub
        if not entry.enabled or self._disabled_meanwhile(admission):
            return {"status": "disabled"}
        device_id = entry.document.get("deviceId", one.registration_id)
        try:
            self._check_hub(entry)
            self._check_faults()
            primary, secondary = self._hub_slots(entry, one.sha256)
            substatus = hub.provision_x509(
                device_id,
                primary=primary,
                secondary=secondary,
                policy=reprovision_policy(entry),
                initial_twin=entry.document.get("initialTwin"),
                iot_edge=bool((entry.document.get("capabilities") or {}).get("iotEdge")),
            )
        except Refusal as no:
            code = getattr(no, "code", no.status * 1000)
            return {"status": "failed", "errorCode": code, "errorMessage": f"IoT Hub: {no}"}
        return {
            "assignedHub": hub.host_name,
            "deviceId": device_id,
            "status": "assigned",
            "substatus": substatus,
        }

    def _disabled_meanwhile(self, admission: Admission) -> bool:
        """Whether the entry stands disabled by now, and that counts (knob `disabling_stops_registration`)."""
        if not self._world.knobs.disabling_stops_registration:
            return False
        current = self._admissions.current(admission)
        return current is not None and not current.enabled

    def _hub_slots(self, entry: Entry, presented: str) -> tuple[str, str]:
        held = entry.attestation.certificates
        if self._world.knobs.hub_slots == "same" or entry.attestation.member != "clientCertificates":
            return presented, presented
        slots = [held[slot].sha256 if slot in held else "" for slot in ("primary", "secondary")]
        return slots[0], slots[1]

    def _check_hub(self, entry: Entry) -> None:
        static = entry.document.get("iotHubHostName")
        hubs = entry.document.get("iotHubs") or ([static] if static else [])
        if hubs and not any(_same_host(one, self._world.hub.host_name) for one in hubs):
            raise NotFound("none of the enrollment's hubs is linked to this DPS.")

    def _check_faults(self) -> None:
        faults = self._world.faults
        # Asked only when a rule names this write: no other rule may wear out on it.
        if any(rule.operation == HUB_WRITE for rule in faults.rules):
            for fault in faults.striking("dps", HUB_WRITE, "-", writes=True):
                if fault.kind == "status":
                    raise HubSaidNo(fault.status)


class HubSaidNo(Refusal):
    """The hub refused what DPS wrote; nested in the registration's message (azure-iot-sdk-c#2404)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the hub answered {status}")
        self.status = status


def reprovision_policy(entry: Entry) -> Policy:
    """What the entry says about a device that registers again (azure-docs concepts-device-reprovision)."""
    policy = entry.document.get("reprovisionPolicy") or {}
    if not policy.get("updateHubAssignment", True):
        return "never"
    return "migrate" if policy.get("migrateDeviceData", True) else "reset"


def _checked(registration_id: str, body: object) -> dict[str, Any]:
    if not isinstance(body, dict) or str(body.get("registrationId", "")).lower() != registration_id.lower():
        raise BadRequest("registrationId must be the same in the address and in the body.")
    return body


def _operation_id(registration_id: str) -> str:
    # The form that azure-docs iot-dps-https-x509-support shows: 5.506603669bd3e2bf.<guid>
    return f"5.{hashlib.sha256(registration_id.lower().encode()).hexdigest()[:16]}.{uuid.uuid4()}"


def _same_host(one: str, other: str) -> bool:
    return one.partition(":")[0].lower() == other.partition(":")[0].lower()


def _device_view(state: dict[str, Any], admission: Admission, leaf: bytes, api_version: str) -> dict[str, Any]:
    """The state as the device sees it, with `x509`.

    In 2019-03-31 every assignment shows as an initial one (azure-iot-cli-extension live tests).
    """
    shown: dict[str, Any] = {}
    if api_version >= "2021-10-01":
        shown["certificateInfo"] = x509.certificate_info(leaf)
        if admission.signer is not None:
            shown["enrollmentGroupId"] = admission.entry.id
    view = {"x509": shown, **state}
    if "substatus" in view and api_version == "2019-03-31":
        view["substatus"] = "initialAssignment"
    return view
