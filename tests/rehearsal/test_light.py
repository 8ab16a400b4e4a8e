"""Light devices do what the reference agent does on azure-iot-device: on real TLS and MQTT, seen by the journal."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from device.errors import Refused, Unreachable
from device.ports import MethodReply
from device.store import Assignment
from local.azure.authority import make_authority
from local.azure.dps.ca_certificates import CaCertificate
from local.azure.tls import serve_tls, server_context
from local.rehearse.fleet import PIPELINE
from local.rehearse.light.dps import LightRegistration
from local.rehearse.light.hub import LightHub
from local.rehearse.light.mqtt import PORT, Link
from local.rehearse.light.network import Network
from tests.conftest import test_net
from tests.contract.iothub_parts import Rest, until
from tests.rehearsal.yard import GROUP, Yard
from tests.standin import StandIn

NAME = "meter-001"


@pytest.fixture
def yard(azure: StandIn, tmp_path: Path) -> Iterator[Yard]:
    """A fleet of three that is not switched on yet."""
    one = Yard(azure, tmp_path / "fleet", 3)
    azure.world.dps.ca_certificates.put(CaCertificate("root-1", one.root.der, verified=True))
    one.hand.create_group(GROUP, one.issuer)
    yield one
    one.fleet.stop()


@pytest.fixture
def network(azure: StandIn) -> Iterator[Network]:
    one = Network(Path(azure.endpoints["ca_file"]).read_text())
    yield one
    one.close()


@pytest.fixture
def credential(yard: Yard, tmp_path: Path) -> Path:
    """Key and chain of `NAME`, under the CA that the group trusts."""
    file = tmp_path / "leaf.pem"
    file.write_bytes(yard.issuer.forge(NAME, yard.issuer.validity))
    return file


@pytest.fixture
def registration(azure: StandIn, network: Network) -> LightRegistration:
    dps = azure.endpoints["dps"]
    return LightRegistration(network, dps["device_host"], dps["id_scope"], NAME, pause_s=0.1)


def deaf(_name: str, _payload: Any) -> MethodReply:
    return MethodReply(404, {})


def test_a_chain_gets_in_by_dps_and_hub(
    yard: Yard, registration: LightRegistration, network: Network, credential: Path
) -> None:
    assignment = registration.register(credential)
    assert assignment == Assignment(yard.azure.endpoints["iothub"]["device_host"], NAME)
    session = LightHub(network).open(assignment, credential, deaf, lambda: None)
    assert session.twin()["desired"] == {"$version": 1}
    session.close()
    until(lambda: yard.facts()[0].sessions[0].ended_because == "the client said goodbye")


def test_a_method_is_answered_and_what_comes_after_is_done_after(
    yard: Yard, registration: LightRegistration, network: Network, credential: Path
) -> None:
    order: list[Any] = []

    def on_method(name: str, payload: Any) -> MethodReply:
        order.append((name, payload))
        return MethodReply(202, {"state": "started"}, lambda: order.append("afterwards"))

    assignment = registration.register(credential)
    session = LightHub(network).open(assignment, credential, on_method, lambda: None)
    answer = Rest(yard.azure).call("POST", f"/twins/{NAME}/methods", {"methodName": "reprovision", "payload": {"a": 1}})
    assert answer.json() == {"status": 202, "payload": {"state": "started"}}
    until(lambda: order == [("reprovision", {"a": 1}), "afterwards"])
    session.close()


def test_what_dps_says_no_to_is_told_with_its_code(
    yard: Yard, registration: LightRegistration, credential: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(yard.root.subordinate("Nobody's", yard.root.validity).forge(NAME, yard.root.validity))
    with pytest.raises(Refused, match="401002: Signing certificate info did not match chain elements"):
        registration.register(other)
    yard.hand.set_status(GROUP, "disabled")
    with pytest.raises(Refused, match="the registration is disabled"):
        registration.register(credential)


@pytest.mark.parametrize("knob", ["connack", "tls"])
def test_a_hub_that_says_no_is_refused_and_no_lost_network(
    yard: Yard, network: Network, credential: Path, knob: str
) -> None:
    yard.azure.control.patch("/knobs", {"hub_refusal": knob})
    assignment = Assignment(yard.azure.endpoints["iothub"]["device_host"], NAME)
    with pytest.raises(Refused):
        LightHub(network).open(assignment, credential, deaf, lambda: None)


def test_a_cut_connection_is_a_lost_network(yard: Yard, registration: LightRegistration, credential: Path) -> None:
    fault = {"service": "dps", "operation": "DeviceRegister", "kind": "reset", "times": 1}
    yard.azure.control.post("/faults", fault)
    with pytest.raises(Unreachable, match="DPS ended the connection"):
        registration.register(credential)
    assert registration.register(credential).device_id == NAME


def test_nobody_at_the_address_is_a_lost_network(network: Network, credential: Path) -> None:
    nobody = LightRegistration(network, f"{test_net()}.78", "0ne", NAME)
    with pytest.raises(Unreachable, match="ConnectionRefusedError"):
        nobody.register(credential)


class Mute(asyncio.Protocol):
    """Accepts a CONNECT and never says anything again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"\x10"):
            self._transport.write(b"\x20\x02\x00\x00")


def test_a_server_that_falls_silent_is_a_lost_network(credential: Path) -> None:
    """MQTT 3.1.1, 3.1.2.10."""
    host = f"{test_net()}.77"
    authority = make_authority([host])
    network = Network(authority.ca_pem)

    async def lose() -> None:
        async with await serve_tls(Mute, host, PORT, server_context(authority)):
            lost = asyncio.Event()
            link = await Link.connect(host, network.tls(credential), NAME, NAME, keep_alive_s=1)
            link.on_lost = lost.set
            await asyncio.wait_for(lost.wait(), 10)

    network.run(lose())
    network.close()


def test_too_many_requests_are_waited_for(yard: Yard, registration: LightRegistration, credential: Path) -> None:
    fault = {
        "service": "dps",
        "operation": "DeviceRegister",
        "kind": "status",
        "status": 429,
        "retry_after": 0,
        "times": 2,
    }
    yard.azure.control.post("/faults", fault)
    assert registration.register(credential).device_id == NAME


def test_a_device_whose_identity_is_gone_registers_again_and_is_back(yard: Yard) -> None:
    """device/README.md, row 5."""
    yard.open()
    yard.hand.remove_from_hub(yard.names)
    yard.until(lambda: all(len(one.registrations) == 2 for one in yard.facts()))
    yard.until(lambda: yard.on(yard.issuer) == set(yard.names))
    assert len(yard.fleet.desk.issued) == 3, "the certificate was good: no new one was asked for"


def test_a_device_moves_to_what_its_desk_signs_now_without_a_gap(yard: Yard) -> None:
    """device/README.md, "How a swap goes": the second session before the first one's end."""
    yard.open()
    before = {one.registration_id: one.thumbprints for one in yard.facts()}
    renewed = yard.root.subordinate("Intermediate 1", yard.root.validity)
    yard.hand.set_slots(GROUP, "kept", renewed)
    yard.fleet.desk.appoint(renewed)
    yard.hand.ask_to_reprovision(yard.names)
    yard.until(lambda: yard.on(renewed) == set(yard.names))
    for one in yard.facts():
        assert one.thumbprints[:-1] == before[one.registration_id]
        assert one.refusals == ()
        assert one.longest_gap_s < 0.5
        assert yard.hand.accepted(one.registration_id) == {one.thumbprints[-1]}


def test_its_store_has_two_slots_and_no_key_in_its_pointer(yard: Yard, tmp_path: Path) -> None:
    yard.open()
    stored = yard.fleet.in_use(NAME)
    pointer = json.loads((stored.path.parent / "state.json").read_text())
    assert pointer["current"] == stored.slot
    assert stored.credential.pem.count(b"BEGIN CERTIFICATE") == 2, "the leaf and its intermediate; no root"


def test_a_fleet_is_fed_what_the_vault_holds_and_an_own_ca_signed(azure: StandIn, tmp_path: Path) -> None:
    """The vault asks for each leaf (issuer Unknown), the CA signs, the pipeline brings key and chain to the device."""
    yard = Yard(azure, tmp_path / "fed", 3, fed_by=PIPELINE)
    try:
        yard.hand.add_ca("root-1", yard.root)
        yard.hand.create_group(GROUP, yard.issuer)
        yard.operator.issue_by(yard.issuer, yard.names, lambda name: {"device": name})
        yard.fleet.start()
        yard.until(lambda: all(one.sessions for one in yard.facts()))
        assert [one.thumbprints for one in yard.facts()] == [
            (yard.operator.latest(name).sha256,) for name in yard.names
        ]
        assert yard.fleet.desk.issued == {}
    finally:
        yard.fleet.stop()
