"""The plain members of an enrollment or a group: what a PUT may say, and what becomes of it.

Attestation has its own module; etag and times are stamped by the store.
"""

from collections.abc import Mapping
from typing import Any

from local.azure.dps.refusals import BadRequest

ALLOCATION_POLICIES = ("hashed", "geoLatency", "static", "custom")
STATUSES = ("enabled", "disabled")
OBJECTS = ("initialTwin", "capabilities", "customAllocationDefinition", "optionalDeviceInformation")


def checked(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The members to keep of a PUT's body. BadRequest when one is wrong.

    Null is the same as absent (recorded: null members do not come back), with one exception: a null
    `provisioningStatus` comes back as null (recorded for a group).
    """
    kept: dict[str, Any] = {"provisioningStatus": _status(sent)}
    if (policy := _reprovision_policy(sent)) is not None:
        kept["reprovisionPolicy"] = policy
    kept.update(_allocation(sent))
    for name in OBJECTS:
        if sent.get(name) is not None:
            if not isinstance(sent[name], dict):
                raise BadRequest(f"{name} must be an object.")
            kept[name] = sent[name]
    if sent.get("credentialPolicyName") is not None:
        kept["credentialPolicyName"] = sent["credentialPolicyName"]
    return kept


def _status(sent: Mapping[str, Any]) -> str | None:
    status = sent.get("provisioningStatus", "enabled")
    if status is not None and status not in STATUSES:
        raise BadRequest("provisioningStatus must be enabled or disabled.")
    return status  # type: ignore[no-any-return]  # it is one of STATUSES


def _reprovision_policy(sent: Mapping[str, Any]) -> dict[str, bool] | None:
    """A policy that is not sent shows as both true (cli tests); one sent as null stays away (recorded)."""
    policy = sent.get("reprovisionPolicy", {})
    if policy is None:
        return None
    if not isinstance(policy, dict):
        raise BadRequest("reprovisionPolicy must be an object.")
    kept = {name: policy.get(name, True) for name in ("updateHubAssignment", "migrateDeviceData")}
    if not all(isinstance(value, bool) for value in kept.values()):
        raise BadRequest("reprovisionPolicy takes true and false.")
    return kept


def _allocation(sent: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    policy, hubs = sent.get("allocationPolicy"), sent.get("iotHubs")
    if policy is not None:
        # Any case is taken: Hashed, geolatency (azure-iot-cli-extension).
        known = {one.lower(): one for one in ALLOCATION_POLICIES}
        if str(policy).lower() not in known:
            raise BadRequest("allocationPolicy is not valid.")
        kept["allocationPolicy"] = known[str(policy).lower()]
    if hubs is not None:
        if not isinstance(hubs, list) or not all(isinstance(one, str) for one in hubs):
            raise BadRequest("iotHubs must be a list of host names.")
        if policy is None and hubs:
            # azure-sdk-for-python#35368, word for word
            raise BadRequest("Enrollment allocationPolicy must be specified when iotHubs are specified.")
        kept["iotHubs"] = hubs
    if kept.get("allocationPolicy") == "custom" and sent.get("customAllocationDefinition") is None:
        raise BadRequest("customAllocationDefinition must be specified for allocationPolicy custom.")
    if kept.get("allocationPolicy") == "static" and len(hubs or []) > 1:
        raise BadRequest("allocationPolicy static takes one hub.")
    if sent.get("iotHubHostName") is not None:
        kept["iotHubHostName"] = str(sent["iotHubHostName"])
    return kept
