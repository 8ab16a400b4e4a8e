"""What the service API shows of its entries and registrations: never a certificate, never more than was set."""

from typing import Any

from local.azure.dps.entries import Entries, Entry
from local.azure.knobs import Knobs

CREDENTIAL_POLICIES_SINCE = "2025-07-01-preview"
# Members that show as null when they are unset and the knob null_members says so (models of azure-iot-cli-
# extension).
UNSET = (
    "allocationPolicy",
    "capabilities",
    "customAllocationDefinition",
    "initialTwin",
    "iotHubHostName",
    "iotHubs",
)
STATE_UNSET = ("assignedHub", "deviceId", "substatus", "errorCode", "errorMessage", "payload")


def entry_json(
    entries: Entries,
    entry: Entry,
    knobs: Knobs,
    api_version: str,
    state: dict[str, Any] | None = None,
    *,
    keys: bool,
) -> dict[str, Any]:
    """An enrollment or group.

    `state` is its registration's, which only a GET of an enrollment shows (recorded). `keys` shows symmetric keys,
    as the answer to a PUT does (recorded), and GET and query do not (azure-iot-cli-extension live tests).
    """
    nulls = knobs.null_members == "null"
    document = dict(entry.document)
    if not (knobs.credential_policy_visible or api_version >= CREDENTIAL_POLICIES_SINCE):
        document.pop("credentialPolicyName", None)
    shown: dict[str, Any] = {entries.id_member: entry.id}
    if "deviceId" in document:
        shown["deviceId"] = document.pop("deviceId")
    if state is not None:
        shown["registrationState"] = state
    shown["attestation"] = entry.attestation.as_json(nulls=nulls, keys=keys)
    return {**shown, **(dict.fromkeys(UNSET) if nulls else {}), **document}


def state_json(state: dict[str, Any], knobs: Knobs) -> dict[str, Any]:
    """A registration state (REST: DeviceRegistrationState)."""
    return {**dict.fromkeys(STATE_UNSET), **state} if knobs.null_members == "null" else state
