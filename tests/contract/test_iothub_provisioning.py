"""What a DPS registration does to an identity of the hub."""

from typing import Any

import pytest

from local.azure.iothub.provisioning import Policy
from local.azure.iothub.refusals import Throttled
from local.azure.world import World
from tests.contract.reasons import INSIDE

pytestmark = INSIDE

OLD, NEW = "A" * 64, "B" * 64


@pytest.fixture
def world() -> World:
    return World("127.0.0")  # its doors stay closed


def provision(world: World, thumbprint: str, policy: Policy = "migrate", **more: Any) -> str:
    given = {"initial_twin": None, "iot_edge": False} | more
    return world.hub.provision_x509("device", primary=thumbprint, secondary=thumbprint, policy=policy, **given)


def identity(world: World) -> dict[str, Any]:
    return world.hub.registry.get("device")


def slots(world: World) -> list[str]:
    return list(identity(world)["authentication"]["x509Thumbprint"].values())


def test_a_first_registration_creates_a_self_signed_identity(world: World) -> None:
    """azure-docs#70976, #108289: selfSigned even for CA-signed devices; azure-iot-sdk-java#1220: both slots alike."""
    twin = {"tags": {"site": "x"}, "properties": {"desired": {"rate": 5}}}
    assert provision(world, OLD, initial_twin=twin, iot_edge=True) == "initialAssignment"
    assert (identity(world)["authentication"]["type"], slots(world)) == ("selfSigned", [OLD, OLD])
    assert (identity(world)["status"], identity(world)["capabilities"]) == ("enabled", {"iotEdge": True})
    kept = world.hub.twins.get("device")
    assert (kept["tags"], kept["properties"]["desired"]["rate"]) == ({"site": "x"}, 5)


@pytest.mark.parametrize(
    ("policy", "substatus", "tags"),
    [("migrate", "deviceDataMigrated", {"mine": 1}), ("reset", "deviceDataReset", {"site": "x"})],
)
def test_a_new_registration_refreshes_the_thumbprints(
    world: World, policy: Policy, substatus: str, tags: dict[str, Any]
) -> None:
    """docs: concepts-device-reprovision; live tests of azure-iot-cli-extension; initialTwin applies at reset only."""
    provision(world, OLD)
    world.hub.twins.replace("device", {"tags": {"mine": 1}}, None)
    world.hub.twins.report("device", {"seen": 1})
    etag = identity(world)["etag"]
    assert provision(world, NEW, policy, initial_twin={"tags": {"site": "x"}}) == substatus
    assert slots(world) == [NEW, NEW]
    assert identity(world)["etag"] != etag
    twin = world.hub.twins.get("device")
    assert twin["tags"] == tags
    assert ("seen" in twin["properties"]["reported"]) is (policy == "migrate")


@pytest.mark.parametrize(("refreshes", "expected"), [(False, OLD), (True, NEW)])
def test_under_never_a_knob_says_whether_thumbprints_change(world: World, refreshes: bool, expected: str) -> None:
    """Knob never_policy_refreshes_thumbprint: docs are silent."""
    world.knobs.never_policy_refreshes_thumbprint = refreshes
    provision(world, OLD)
    world.hub.twins.replace("device", {"tags": {"mine": 1}}, None)
    assert provision(world, NEW, "never") == "reprovisionedToInitialAssignment"
    assert slots(world) == [expected, expected]
    assert world.hub.twins.get("device")["tags"] == {"mine": 1}


def test_a_never_device_that_was_deleted_is_created_again(world: World) -> None:
    """docs: "How to deprovision devices": the next registration creates the identity."""
    provision(world, OLD)
    world.hub.registry.delete("device", "*")
    assert provision(world, NEW, "never") == "initialAssignment"
    assert slots(world) == [NEW, NEW]


@pytest.mark.parametrize(("reenables", "expected"), [(False, "disabled"), (True, "enabled")])
def test_a_knob_says_whether_a_disabled_identity_is_enabled(world: World, reenables: bool, expected: str) -> None:
    """Knob reregistration_reenables_identity: no source."""
    world.knobs.reregistration_reenables_identity = reenables
    provision(world, OLD)
    disabled = identity(world) | {"status": "disabled", "statusReason": "stolen", "deviceScope": "scope"}
    world.hub.registry.rewrite("device", disabled)
    provision(world, NEW)
    kept = identity(world)
    assert (kept["status"], kept["statusReason"], kept["deviceScope"]) == (expected, "stolen", "scope")


def test_an_identity_that_an_operator_made_ca_signed_is_set_back(world: World) -> None:
    """azure-docs#70976: the next registration makes it selfSigned again."""
    world.hub.registry.put("device", {"authentication": {"type": "certificateAuthority"}}, None)
    provision(world, NEW)
    assert (identity(world)["authentication"]["type"], slots(world)) == ("selfSigned", [NEW, NEW])


def test_a_registration_costs_one_registry_operation(world: World) -> None:
    """docs: quotas and throttling; telemetry-simulator#39 shows the hub throttling while devices provision."""
    world.throttles.patch({"hub_tier": "S1", "limits": {"iothub/registry": {"amount": 1, "per_s": 60}}})
    provision(world, OLD)
    with pytest.raises(Throttled):
        provision(world, NEW)
    assert slots(world) == [OLD, OLD]


def test_a_reset_leaves_an_empty_hub(world: World) -> None:
    """POST /reset on the control port."""
    provision(world, OLD)
    world.reset()
    assert world.hub.registry.statistics()["totalDeviceCount"] == 0
