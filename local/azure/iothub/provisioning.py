"""What a DPS registration does to the hub."""

from typing import Literal

from local.azure.iothub.refusals import Throttled
from local.azure.iothub.registry import Registry
from local.azure.iothub.store import Json, Store
from local.azure.iothub.twins import Twins
from local.azure.knobs import Knobs
from local.azure.throttle import Throttles

Policy = Literal["migrate", "reset", "never"]


class Provisioning:
    """Creates and refreshes the identities of devices that register."""

    def __init__(self, store: Store, registry: Registry, twins: Twins, knobs: Knobs, throttles: Throttles) -> None:
        self._store = store
        self._registry = registry
        self._twins = twins
        self._knobs = knobs
        self._throttles = throttles

    def provision_x509(
        self, device_id: str, *, primary: str, secondary: str, policy: Policy, initial_twin: Json | None, iot_edge: bool
    ) -> str:
        """Let a device in with two thumbprints (SHA-256); gives the registration's `substatus`.

        The identity is always `selfSigned` (azure-docs#70976, azure-iot-sdk-csharp#3360). One that exists keeps its
        status, scopes and, but for `reset`, its twin (docs: concepts-device-reprovision); under `never` it is not
        touched. Raises Throttled: a registration costs one operation of the identity registry, as any other write.
        """
        slots = {"primaryThumbprint": primary, "secondaryThumbprint": secondary}
        authentication = {"type": "selfSigned", "x509Thumbprint": slots}
        wait_s = self._throttles.take("iothub", "registry")
        if wait_s is not None:
            raise Throttled(wait_s)
        device = self._store.devices.get(device_id)
        if device is None:
            body = {"authentication": authentication, "capabilities": {"iotEdge": iot_edge}}
            self._registry.create(device_id, body, initial_twin)
            return "initialAssignment"
        if policy == "never" and not self._knobs.never_policy_refreshes_thumbprint:
            return "reprovisionedToInitialAssignment"
        body = device.identity | {"authentication": authentication, "capabilities": {"iotEdge": iot_edge}}
        if self._knobs.reregistration_reenables_identity:
            body["status"] = "enabled"
        self._registry.rewrite(device_id, body)
        if policy == "never":
            return "reprovisionedToInitialAssignment"
        if policy == "reset":
            self._twins.reset(device_id, initial_twin)
            return "deviceDataReset"
        return "deviceDataMigrated"
