"""The agent with the real device SDK against the stand-in: what the cloud sees of a swap."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod

from device.agent import DeviceAgent
from device.backoff import Backoff
from device.config import Config
from device.errors import Unreachable
from device.registration import DpsRegistration
from device.sources import FolderSource
from device.store import CertificateStore
from tests.device.device_certificates import Issued, issue
from tests.device.device_fakes import Timeline, eventually
from tests.standin import StandIn


class Fleet:
    """The operator's side: enrollments, hub, journal; and the devices' folders."""

    def __init__(self, azure: StandIn, folder: Path) -> None:
        self.azure = azure
        self.folder = folder
        self.dps = DeviceProvisioningClient.from_connection_string(azure.endpoints["dps"]["connection_string"])
        self.hub = IoTHubRegistryManager.from_connection_string(azure.endpoints["iothub"]["connection_string"])
        self.running: list[DeviceAgent] = []

    def enroll(self, device: str, primary: Issued | None, secondary: Issued | None = None, **more: Any) -> None:
        slots = {
            name: {"certificate": issued.certificate_pem.decode()}
            for name, issued in (("primary", primary), ("secondary", secondary))
            if issued
        }
        self.dps.enrollment.create_or_update(
            device,
            {
                "registrationId": device,
                "attestation": {"type": "x509", "x509": {"clientCertificates": slots}},
                "provisioningStatus": "enabled",
                "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
                **more,
            },
            **_if_match(self.dps, device),
        )

    def deliver(self, device: str, issued: Issued) -> None:
        """What the fleet's own pipeline does: an atomic rename."""
        folder = self.folder / device / "incoming"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".new").write_bytes(issued.pem)
        (folder / ".new").rename(folder / f"{device}.pem")

    def device(self, device: str, *, poll_interval_s: float = 3600.0) -> tuple[DeviceAgent, Timeline]:
        dps = self.azure.endpoints["dps"]
        config = Config(
            registration_id=device,
            id_scope=dps["id_scope"],
            provisioning_host=dps["device_host"],
            ca_file=Path(self.azure.endpoints["ca_file"]),
            poll_interval_s=poll_interval_s,
            backoff=Backoff(base_s=0.2, cap_s=1.0),
        )
        timeline = Timeline()
        store = CertificateStore(self.folder / device / "store")
        source = FolderSource(self.folder / device / "incoming")
        agent = DeviceAgent(config, store, source, timeline)
        self.running.append(agent)
        agent.start()
        return agent, timeline

    def call(self, device: str, payload: Any) -> tuple[int, Any]:
        answer = self.hub.invoke_device_method(device, CloudToDeviceMethod(method_name="reprovision", payload=payload))
        return answer.status, answer.payload

    def journal(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.azure.control.get(f"/journal?kind={kind}&service=iothub")
        return entries

    def refused_connects(self) -> list[dict[str, Any]]:
        return [entry for entry in self.journal("connect") if not entry["accepted"]]

    def thumbprints(self, device: str) -> set[str]:
        pinned = self.hub.get_device(device).authentication.x509_thumbprint
        return {pinned.primary_thumbprint, pinned.secondary_thumbprint}

    def gaps(self, device: str) -> list[float]:
        """Seconds from each end of a session to the next accepted one; below zero when they overlap."""
        accepted = [e["wall"] for e in self.journal("connect") if e["device_id"] == device and e["accepted"]]
        ended = [e["wall"] for e in self.journal("disconnect") if e["device_id"] == device]
        return [begin - end for begin, end in zip(accepted[1:], ended, strict=False)]


def _if_match(dps: DeviceProvisioningClient, device: str) -> dict[str, str]:
    try:
        return {"if_match": dps.enrollment.get(device)["etag"]}
    except ResourceNotFoundError:
        return {}


@pytest.fixture
def fleet(azure: StandIn, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(azure, tmp_path)
    yield fleet
    for agent in fleet.running:
        agent.stop()


@pytest.fixture
def knobs(azure: StandIn) -> Callable[..., None]:
    return lambda **values: azure.control.patch("/knobs", values)


def online(fleet: Fleet, device: str = "dev1") -> tuple[DeviceAgent, Timeline, Issued, Issued]:
    """A device that is provisioned on an old certificate, its enrollment holding the new one as well."""
    old, new = issue(device), issue(device)
    fleet.enroll(device, old, new)
    fleet.deliver(device, old)
    agent, timeline = fleet.device(device)
    timeline.wait_for("swapped")
    return agent, timeline, old, new


def test_a_new_device_provisions_itself_with_what_its_source_holds(fleet: Fleet) -> None:
    agent, timeline, old, _ = online(fleet)
    assert agent.current_thumbprint == old.credential.sha256
    assert fleet.thumbprints("dev1") == {old.credential.sha256}
    assert timeline.names() == ["registering", "registered", "connecting", "connected", "swapped"]
    assert fleet.refused_connects() == []


def test_a_restart_connects_without_another_registration(fleet: Fleet) -> None:
    """azure-docs how-to-reprovision: do not register on every boot when what is cached works."""
    agent, *_ = online(fleet)
    agent.stop()
    _, timeline = fleet.device("dev1")
    timeline.wait_for("connected")
    assert timeline.names() == ["connecting", "connected"]


def test_a_swap_asked_for_by_the_method_has_no_refused_connect_and_hardly_a_gap(fleet: Fleet) -> None:
    agent, timeline, _, new = online(fleet)
    fleet.deliver("dev1", new)
    hint = {"rollover_id": "r1", "sha256_thumbprint": new.credential.sha256, "certificate_id": None}
    assert fleet.call("dev1", hint) == (202, {"state": "started"})
    timeline.wait_for("swapped", count=2)
    eventually(lambda: fleet.call("dev1", hint) == (200, {"state": "current"}))
    assert agent.current_thumbprint == new.credential.sha256
    assert fleet.thumbprints("dev1") == {new.credential.sha256}
    assert fleet.refused_connects() == []
    (gap,) = fleet.gaps("dev1")
    print(f"gap {gap * 1000:.2f} ms")
    assert gap < 0.5


def test_the_method_answers_no_certificate_and_the_agent_keeps_looking(fleet: Fleet) -> None:
    _, timeline, _, new = online(fleet)
    hint = {"rollover_id": "r1", "sha256_thumbprint": new.credential.sha256, "certificate_id": None}
    assert fleet.call("dev1", hint) == (409, {"state": "no-certificate"})
    fleet.deliver("dev1", new)
    timeline.wait_for("swapped", sha256=new.credential.sha256, timeout_s=10)


@pytest.mark.parametrize("payload", [None, ""])
def test_a_payload_that_says_nothing_means_look_for_a_new_certificate(fleet: Fleet, payload: Any) -> None:
    _, timeline, _, new = online(fleet)
    fleet.deliver("dev1", new)
    assert fleet.call("dev1", payload) == (202, {"state": "started"})
    timeline.wait_for("swapped", sha256=new.credential.sha256)


def test_a_candidate_that_dps_refuses_leaves_the_old_session_alone(fleet: Fleet) -> None:
    agent, timeline, old, _ = online(fleet)
    stray = issue("dev1")
    fleet.deliver("dev1", stray)
    assert fleet.call("dev1", None)[0] == 202
    timeline.wait_for("rolled_back", sha256=stray.credential.sha256)
    assert agent.current_thumbprint == old.credential.sha256
    assert fleet.journal("disconnect") == []
    fleet.enroll("dev1", old, stray)  # the enrollment catches up: the device goes on by itself
    timeline.wait_for("swapped", sha256=stray.credential.sha256)
    assert fleet.refused_connects() == []


def test_a_deleted_identity_is_made_again_by_registering(fleet: Fleet) -> None:
    _, timeline, old, _ = online(fleet)
    fleet.hub.delete_device("dev1")
    timeline.wait_for("refused", service="hub")
    timeline.wait_for("connected", count=2)
    assert fleet.thumbprints("dev1") == {old.credential.sha256}


def test_a_disabled_identity_comes_back_when_it_is_enabled(fleet: Fleet) -> None:
    _, timeline, *_ = online(fleet)
    device = fleet.hub.get_device("dev1")
    pinned = device.authentication.x509_thumbprint
    thumbprints = pinned.primary_thumbprint, pinned.secondary_thumbprint
    fleet.hub.update_device_with_x509("dev1", device.etag, *thumbprints, "disabled")
    timeline.wait_for("refused", service="hub", count=2)
    fleet.hub.update_device_with_x509("dev1", "*", *thumbprints, "enabled")
    timeline.wait_for("connected", count=2)


def test_a_hub_that_refuses_within_the_tls_handshake_makes_the_device_register(
    fleet: Fleet, knobs: Callable[..., None]
) -> None:
    """azure-iot-sdk-python#968: a refusal may show as a TLS alert, which the SDK calls a failed connection."""
    knobs(hub_refusal="tls")
    _, timeline, *_ = online(fleet)
    fleet.hub.delete_device("dev1")
    timeline.wait_for("refused", service="hub")
    timeline.wait_for("connected", count=2)


def test_a_hub_that_drops_the_session_when_its_thumbprint_changes_sees_no_refused_connect(
    fleet: Fleet, knobs: Callable[..., None]
) -> None:
    knobs(drop_session_on_thumbprint_change=True)
    _, timeline, _, new = online(fleet)
    fleet.deliver("dev1", new)
    assert fleet.call("dev1", None)[0] == 202
    timeline.wait_for("swapped", count=2)
    assert fleet.refused_connects() == []
    assert len(fleet.journal("disconnect")) == 1
    print(f"gap when the hub drops the session: {fleet.gaps('dev1')[0] * 1000:.0f} ms")


def test_a_hub_that_learns_of_the_new_certificate_late_does_not_cost_the_session(
    fleet: Fleet, knobs: Callable[..., None]
) -> None:
    _, timeline, _, new = online(fleet)
    knobs(auth_propagation_s=0.3)
    fleet.deliver("dev1", new)
    assert fleet.call("dev1", None)[0] == 202
    timeline.wait_for("swapped", count=2)
    assert all(gap < 0.5 for gap in fleet.gaps("dev1"))


def test_a_lost_network_costs_a_reconnect_and_no_registration(fleet: Fleet) -> None:
    _, timeline, *_ = online(fleet)
    session = fleet.azure.world.hub.sessions.of("dev1")
    assert session is not None

    async def cut() -> None:
        session.mqtt.close(reason="the network is lost")

    fleet.azure._loop.run(cut())
    timeline.wait_for("connected", count=2)
    assert timeline.names().count("registering") == 1
    assert fleet.refused_connects() == []


def test_a_power_cut_after_dps_accepted_the_candidate_is_resumed_without_a_refused_connect(fleet: Fleet) -> None:
    """The hub knows only the candidate then: connecting with the old certificate first would be refused."""
    agent, _, _, new = online(fleet)
    agent.stop()
    store = CertificateStore(fleet.folder / "dev1" / "store")
    candidate = store.stage(new.credential)
    agent._registration.register(candidate.path)
    _, timeline = fleet.device("dev1")
    timeline.wait_for("swapped", sha256=new.credential.sha256)
    assert fleet.refused_connects() == []


def test_ten_devices_in_one_process_swap_with_no_refused_connect(fleet: Fleet) -> None:
    names = [f"dev{n}" for n in range(10)]
    fleets = {}
    for name in names:
        old, new = issue(name), issue(name)
        fleet.enroll(name, old, new)
        fleet.deliver(name, old)
        fleets[name] = (*fleet.device(name), new)
    for _, timeline, _ in fleets.values():
        timeline.wait_for("swapped")
    used = time.process_time()
    for name, (_, _, new) in fleets.items():
        fleet.deliver(name, new)
        assert fleet.call(name, None)[0] == 202
    for _, timeline, _ in fleets.values():
        timeline.wait_for("swapped", count=2)
    used = time.process_time() - used
    gaps = [gap * 1000 for name in names for gap in fleet.gaps(name)]
    print(f"gaps of ten: {min(gaps):.2f} to {max(gaps):.2f} ms; {used:.2f} s of processor time, stand-in included")
    assert fleet.refused_connects() == []
    assert max(gaps) < 500


def test_a_dps_that_answers_429_for_ever_ends_the_attempt_at_its_deadline(fleet: Fleet, tmp_path: Path) -> None:
    """azure-iot-device 2.14.0 asks again for ever at 429 and 5xx; the deadline is the agent's."""
    dps, issued = fleet.azure.endpoints["dps"], issue("dev1")
    fleet.enroll("dev1", issued)
    pem = tmp_path / "dev1.pem"
    pem.write_bytes(issued.pem)
    fault = {"service": "dps", "operation": "DeviceRegister", "kind": "status", "status": 429, "times": 100}
    fleet.azure.control.post("/faults", fault)
    ca = Path(fleet.azure.endpoints["ca_file"]).read_text()
    registration = DpsRegistration(dps["device_host"], dps["id_scope"], "dev1", ca, deadline_s=1.0)
    with pytest.raises(Unreachable, match="did not finish the registration within 1 s"):
        registration.register(pem)
    fleet.azure.control.delete("/faults")
    asked = len(fleet.azure.control.get("/journal?kind=request&service=dps"))
    time.sleep(3)
    assert len(fleet.azure.control.get("/journal?kind=request&service=dps")) == asked, "the abandoned client goes on"


def test_the_command_runs_one_device_until_it_is_told_to_stop(fleet: Fleet, tmp_path: Path) -> None:
    dps, issued = fleet.azure.endpoints["dps"], issue("dev1")
    fleet.enroll("dev1", issued)
    fleet.deliver("dev1", issued)
    file = tmp_path / "dev1" / "device.json"
    file.write_text(
        json.dumps(
            {
                "registration_id": "dev1",
                "id_scope": dps["id_scope"],
                "provisioning_host": dps["device_host"],
                "ca_file": fleet.azure.endpoints["ca_file"],
                "store": "store",
                "source": {"folder": "incoming"},
            }
        )
    )
    command = [sys.executable, "-m", "device", "--config", str(file)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        told = [json.loads(line)["event"] for line in itertools.islice(running.stdout, 5)]
        running.terminate()
        assert running.wait(20) == 0
    assert told == ["registering", "registered", "connecting", "connected", "swapped"]
    eventually(lambda: fleet.journal("disconnect"))


def test_a_wrong_configuration_is_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text("{}")
    command = [sys.executable, "-m", "device", "--config", str(tmp_path / "device.json")]
    ran = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (2, f"{tmp_path}/device.json: 'store' is missing\n")
