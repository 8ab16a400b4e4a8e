"""The hub's log is the third trigger, on the running app: a device is refused, and gets in because it was."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from azure.iot.device import X509, IoTHubDeviceClient
from azure.iot.device.exceptions import ClientError

from local.functions_host import HUB_LOG
from tests.rehearsal.plant import Host, Plant, until

NAME = "early-1"


def listen(plant: Plant, host: Host) -> None:
    """The hub's diagnostic setting sends its log to the event hub that the app reads."""
    reader = f"{host.url}/runtime/webhooks/eventhubs/{HUB_LOG}?code={host.keys['master']}"
    plant.standin.control.put("/hub-log", {"reader": reader})


def connects(plant: Plant, pem: Path) -> bool:
    """Whether the hub lets the device in with the certificate that it holds."""
    client = IoTHubDeviceClient.create_from_x509_certificate(
        X509(str(pem), str(pem)),
        plant.document["iothub"]["device_host"],
        NAME,
        server_verification_cert=Path(plant.ca_file).read_text(),
        connection_retry=False,
    )
    try:
        client.connect()
    except ClientError:
        return False
    finally:
        with suppress(ClientError):
            client.shutdown()
    return True


@pytest.fixture
def host(plant: Plant) -> Iterator[Host]:
    """A host that reads the hub's log, twice and out of order; twenty past, so that no sweep comes."""
    control = plant.standin.control
    before = control.get("/knobs")
    control.patch("/knobs", {"hub_log_duplicates": True, "hub_log_reorder": True, "hub_log_delay_s": 0.2})
    control.put("/clock", {"set": control.get("/clock")["now"][:14] + "20:00Z"})
    running = plant.host()
    listen(plant, running)
    yield running
    control.put("/hub-log", {"reader": None})
    control.patch("/knobs", before)
    running.stop()


def test_a_device_that_rolled_before_its_enrollment_was_told_gets_in(plant: Plant, host: Host, tmp_path: Path) -> None:
    """It fetched the vault's new version by itself; no event tells the app of it, and no sweep comes."""
    device = plant.install(NAME, tmp_path)
    host.run_now("sweep_certificates")  # the last one before: whose device it is, is known from then on
    until(lambda: "swept" in host.log.read_text(), "the sweep is over", host.tail)
    policy = plant.vault.get_certificate_policy(NAME)
    plant.vault.begin_create_certificate(
        NAME, policy, tags={"rollover-enrollment": NAME}, _polling_interval=0.1
    ).result()
    device.take_latest()
    assert host.rollovers(NAME) == []
    assert not device.register(), "DPS refuses it"
    assert not connects(plant, tmp_path / f"{NAME}.pem"), "the hub refuses it, and says so in its log"
    until(lambda: host.rollovers(NAME), "its rollover begins", host.tail)
    until(lambda: connects(plant, tmp_path / f"{NAME}.pem"), "the hub lets it in", host.tail)
    assert device.register(), "DPS does too"
    until(lambda: host.rollovers(NAME)[0]["next_step"] == "delete_primary", "it counts as moved", host.tail)
    [rollover] = host.rollovers(NAME)
    assert rollover["cause"].startswith(f"refused connect of {NAME}")
    assert plant.end_state(NAME) == {"slots": {"primary": 0, "secondary": 1}, "versions": 2}
