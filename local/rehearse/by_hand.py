"""A person who rolls an enrollment group's certificates by hand, call by call, over the REST APIs and no SDK.

The procedures are those of azure-docs how-to-roll-certificates ("Enrollment groups and security breaches",
"... and certificate expiration"), in its order and with nothing added: what the app must do at least, and what it is
measured against.
"""

import base64
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import requests

from local.rehearse.moving import Identity, MovedClock
from local.rehearse.pki import CertificateAuthority, Validity

PERSON = "operator"
DPS_VERSION, HUB_VERSION, ARM_VERSION = "2021-10-01", "2021-04-12", "2022-12-12"
DPS_SCOPE = "https://azure-devices-provisioning.net/.default"
HUB_SCOPE, ARM_SCOPE = "https://iothubs.azure.net/.default", "https://management.azure.com/.default"
BULK = 100
"""Identities in one bulk call, at most (facts: 4.4)."""
TIMEOUT_S = 60.0
KEPT: Final = "kept"
"""For a slot that stays as it is: it is sent back as it was shown."""

type Slot = CertificateAuthority | str | None
"""A certificate of the group's own, the name of a CA certificate of the DPS, KEPT, or nothing."""


@dataclass(frozen=True)
class Step:
    """One thing that the guide says to do."""

    name: str
    do: Callable[[], object]


@dataclass(frozen=True)
class Procedure:
    """What the guide says to do at once, and what "later when the primary certificate has actually expired"."""

    at_once: Sequence[Step]
    later: Sequence[Step] = ()


def carry_out(steps: Sequence[Step], without: Collection[str] = ()) -> None:
    """One after another, but for those left out by name. ValueError when there is none of that name."""
    if unknown := set(without) - {one.name for one in steps}:
        raise ValueError(f"no step named {', '.join(sorted(unknown))}")
    for step in steps:
        if step.name not in without:
            step.do()


class ByHand:
    """Acts on the endpoints of `document` with every right there is. requests.HTTPError for what is refused."""

    def __init__(self, document: Mapping[str, Any], clock: MovedClock, principal: str = PERSON) -> None:
        self._document = document
        self._clock = clock
        self._identity = Identity(principal, clock)

    # CA certificates of the DPS, by ARM

    def add_ca(self, name: str, ca: CertificateAuthority) -> None:
        """Upload it and prove to hold its key (azure-docs how-to-verify-certificates)."""
        self.upload_ca(name, ca)
        self.verify_ca(name, ca)

    def upload_ca(self, name: str, ca: CertificateAuthority) -> None:
        """Unverified, it admits nobody."""
        self._arm("PUT", name, {"properties": {"certificate": base64.b64encode(ca.pem.encode()).decode()}})

    def verify_ca(self, name: str, ca: CertificateAuthority) -> None:
        """Have the DPS make up a code and sign it with the CA's key."""
        shown = self._arm("POST", f"{name}/generateVerificationCode", None, self._arm("GET", name)["etag"])
        now = self._clock.now().replace(microsecond=0)
        proof = ca.prove(shown["properties"]["verificationCode"], Validity(now, now + timedelta(days=1)))
        self._arm("POST", f"{name}/verify", {"certificate": proof.decode()}, shown["etag"])

    def delete_ca(self, name: str) -> None:
        """Whatever names it dangles from now on."""
        self._arm("DELETE", name, None, self._arm("GET", name)["etag"])

    def ca_certificates(self) -> dict[str, str]:
        """Name → SHA-1 thumbprint (upper-case hex) of each CA certificate that the DPS has; ARM gives no other."""
        return {one["name"]: str(one["properties"]["thumbprint"]).upper() for one in self._arm("GET", "")["value"]}

    # the group

    def create_group(self, group_id: str, primary: Slot, secondary: Slot = None) -> None:
        """An enabled group that keeps a device's data when it registers again."""
        body = {
            "enrollmentGroupId": group_id,
            "attestation": {"type": "x509", "x509": _slots({}, primary, secondary)},
            "provisioningStatus": "enabled",
            "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
        }
        self._dps("PUT", f"/enrollmentGroups/{group_id}", body)

    def group(self, group_id: str) -> dict[str, Any]:
        """As DPS shows it."""
        shown: dict[str, Any] = self._dps("GET", f"/enrollmentGroups/{group_id}").json()
        return shown

    def set_slots(self, group_id: str, primary: Slot, secondary: Slot = None) -> None:
        """Let the group trust this, and nothing else."""
        shown = self.group(group_id)
        shown["attestation"]["x509"] = _slots(shown["attestation"]["x509"], primary, secondary)
        self._dps("PUT", f"/enrollmentGroups/{group_id}", shown, {"If-Match": shown["etag"]})

    def change_group(self, group_id: str, **members: Any) -> None:
        """Change members of the group that have nothing to do with what it trusts."""
        shown = self.group(group_id)
        self._dps("PUT", f"/enrollmentGroups/{group_id}", shown | members, {"If-Match": shown["etag"]})

    def set_status(self, group_id: str, status: str) -> None:
        """Let the group be "enabled" or "disabled" (azure-docs how-to-revoke-device-access-portal)."""
        self.change_group(group_id, provisioningStatus=status)

    def registered(self, group_id: str) -> list[str]:
        """The device IDs that registered through the group."""
        found: list[str] = []
        headers: dict[str, str] = {}
        while True:
            answer = self._dps("POST", f"/registrations/{group_id}/query", None, headers)
            found += [one.get("deviceId") or one["registrationId"] for one in answer.json()]
            if not (token := answer.headers.get("x-ms-continuation")):
                return found
            headers = {"x-ms-continuation": token}

    # the hub

    def remove_from_hub(self, device_ids: Sequence[str]) -> None:
        """Delete these identities; with each goes its twin. Those that are not there are none the worse."""
        for first in range(0, len(device_ids), BULK):
            items = [{"id": one, "importMode": "delete"} for one in device_ids[first : first + BULK]]
            self._call("POST", self._hub_url("/devices"), HUB_SCOPE, items, accept=(200, 400))

    def accepted(self, device_id: str) -> set[str]:
        """The thumbprints that the hub accepts for a device; none if it does not know it."""
        answer = self._call("GET", self._hub_url(f"/devices/{device_id}"), HUB_SCOPE, accept=(200, 404))
        slots = answer.json()["authentication"]["x509Thumbprint"] if answer.status_code == 200 else {}
        return {str(one).upper() for one in slots.values() if one}

    def ask_to_reprovision(self, device_ids: Sequence[str]) -> None:
        """A job that calls the devices' method; returns when it is started, not when it is done."""
        job_id = f"by-hand-{uuid.uuid4()}"
        quoted = ", ".join(f"'{one}'" for one in device_ids)
        body = {
            "jobId": job_id,
            "type": "scheduleDeviceMethod",
            "cloudToDeviceMethod": {"methodName": "reprovision", "payload": {}, "responseTimeoutInSeconds": 30},
            "queryCondition": f"deviceId IN [{quoted}]",
            "startTime": self._clock.now().isoformat(),
            "maxExecutionTimeInSeconds": 300,
        }
        self._call("PUT", self._hub_url(f"/jobs/v2/{job_id}"), HUB_SCOPE, body)

    # requests

    def _arm(self, method: str, path: str, body: Any = None, etag: str | None = None) -> Any:
        document = self._document
        resource = f"{document['arm']['url']}{document['dps']['resource_id']}/certificates"
        url = f"{resource}/{path}" if path else resource
        headers = {"If-Match": etag} if etag else {}
        answer = self._call(method, f"{url}?api-version={ARM_VERSION}", ARM_SCOPE, body, headers)
        return answer.json() if answer.content else None

    def _dps(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        url = f"{self._document['dps']['service_url']}{path}?api-version={DPS_VERSION}"
        return self._call(method, url, DPS_SCOPE, body, headers)

    def _hub_url(self, path: str) -> str:
        return f"{self._document['iothub']['service_url']}{path}?api-version={HUB_VERSION}"

    def _call(
        self,
        method: str,
        url: str,
        scope: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> requests.Response:
        token = self._identity.get_token(scope).token
        headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        answer = requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S)
        if answer.status_code not in accept and not answer.ok:
            raise requests.HTTPError(f"{method} {url}: {answer.status_code} {answer.text}", response=answer)
        return answer


def _slots(shown: Mapping[str, Any], primary: Slot, secondary: Slot) -> dict[str, Any]:
    """The `x509` of a group's attestation: certificates of its own, or names of CA certificates."""
    wanted = {"primary": primary, "secondary": secondary}
    by_name = any(isinstance(one, str) and one != KEPT for one in wanted.values()) or bool(shown.get("caReferences"))
    member = "caReferences" if by_name else "signingCertificates"
    held = shown.get(member) or {}
    return {member: {slot: _slot(one, held.get(slot)) for slot, one in wanted.items()}}


def _slot(wanted: Slot, shown: Any) -> Any:
    if wanted == KEPT:
        return shown
    return {"certificate": wanted.pem} if isinstance(wanted, CertificateAuthority) else wanted
