"""The DPS and the hub as resources: tier and units, which the quotas follow."""

from typing import Any

import pytest
import requests

from tests.contract.dps_kit import token
from tests.contract.reasons import ARM
from tests.contract.test_arm_certificates import DPS, management
from tests.standin import StandIn

pytestmark = ARM


def test_the_dps_names_its_id_scope_and_its_hubs(azure: StandIn) -> None:
    """recorded (azure-cli, test_dps_lifecycle, 2022); `iot_dps_resource.get` is how a client finds them."""
    found = management(azure, "operator").iot_dps_resource.get(**DPS)
    assert (found.properties.state, found.properties.id_scope) == ("Active", azure.endpoints["dps"]["id_scope"])
    assert [one.name for one in found.properties.iot_hubs or []] == [azure.endpoints["iothub"]["device_host"]]


@pytest.mark.parametrize(("tier", "units"), [("S1", 10), ("S3", 1)])
def test_the_hub_says_its_tier_and_units(azure: StandIn, tier: str, units: int) -> None:
    """REST reference, "Iot Hub Resource - Get": the sku. Its name is the tier, its capacity the units."""
    azure.control.patch("/throttles", {"hub_tier": tier, "hub_units": units})
    hub = azure.endpoints["iothub"]["resource_id"]
    assert _get(azure, hub)["sku"] == {"name": tier, "tier": "Standard", "capacity": units}
    assert _get(azure, hub)["properties"]["hostName"] == azure.endpoints["iothub"]["device_host"]


def test_a_request_without_an_api_version_is_refused(azure: StandIn) -> None:
    """docs, "Azure Resource Manager REST": api-version is required."""
    arm = azure.endpoints["arm"]
    bearer = token(azure, resource="https://management.azure.com")
    url = arm["url"] + azure.endpoints["iothub"]["resource_id"]
    answer = requests.get(url, headers={"Authorization": f"Bearer {bearer}"}, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MissingApiVersionParameter")


def _get(azure: StandIn, resource: str) -> Any:
    arm = azure.endpoints["arm"]
    bearer = token(azure, principal="rollover", resource="https://management.azure.com")
    headers = {"Authorization": f"Bearer {bearer}"}
    answer = requests.get(f"{arm['url']}{resource}?api-version=2023-06-30", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()
