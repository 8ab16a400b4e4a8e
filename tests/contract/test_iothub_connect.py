"""Devices at the hub's door: who is let in, and what ends a connection."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.exceptions import ConnectionFailedError, CredentialError

from local.azure.x509 import sha1_thumbprint, sha256_thumbprint
from tests.certificates import Made
from tests.contract.iothub_parts import Rest, certificate, device_client, journal, registry_manager, until
from tests.contract.reasons import CLOCK, INSIDE, JOURNAL, KNOBS, OURS, QUOTAS
from tests.contract.target import Target
from tests.standin import StandIn

Device = Callable[..., IoTHubDeviceClient]


@pytest.fixture
def rest(target: Target, device_id: str) -> Rest:
    target.hurry(identity_drop_delay_s=0.05)
    return Rest(target, about=device_id)


@pytest.fixture
def device(target: Target, device_id: str, tmp_path: Path) -> Iterator[Device]:
    """Makes clients that are shut down at the end."""
    clients: list[IoTHubDeviceClient] = []

    def make(made: Made, **options: Any) -> IoTHubDeviceClient:
        clients.append(device_client(target, device_id, made, tmp_path, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.shutdown()


def change(rest: Rest, **changes: Any) -> None:
    body = rest.call("GET", f"/devices/{rest.about}").json() | changes
    assert rest.call("PUT", f"/devices/{rest.about}", body, If_Match=body["etag"]).status_code == 200


def pinned(*thumbprints: str | None) -> dict[str, Any]:
    slots = dict(zip(("primaryThumbprint", "secondaryThumbprint"), thumbprints, strict=False))
    return {"type": "selfSigned", "x509Thumbprint": slots}


def state(rest: Rest) -> str:
    return str(rest.call("GET", f"/devices/{rest.about}").json()["connectionState"])


def gone(client: IoTHubDeviceClient, target: Target) -> None:
    """Waits until the device has noticed that its connection is gone."""
    target.until(lambda: not client.connected, "the disconnection")


def dropped(client: IoTHubDeviceClient, azure: StandIn) -> str:
    """Waits until the connection is gone on both sides; the reason that the hub noted."""
    until(lambda: not client.connected, "the disconnection")
    entries: list[dict[str, Any]] = until(lambda: journal(azure, "disconnect"))
    return str(entries[-1]["reason"])


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("thumbprint", [sha1_thumbprint, sha256_thumbprint])
def test_a_certificate_in_either_slot_and_by_either_hash_is_let_in(
    target: Target, rest: Rest, device: Device, slot: int, thumbprint: Callable[[bytes], str], device_id: str
) -> None:
    """docs: "Authenticate identities with X.509 certificates"; chain and name are not looked at (iotedge#621)."""
    made = certificate("another-name")
    rest.create(device_id, certificate())
    change(rest, authentication=pinned(*["F" * 64] * slot, thumbprint(made.der).lower(), *["E" * 64] * (1 - slot)))
    client = device(made)
    client.connect()
    assert client.connected
    target.until(lambda: state(rest) == "Connected")


@JOURNAL
def test_a_connection_is_counted_and_written_down(azure: StandIn, rest: Rest, device: Device, device_id: str) -> None:
    """REST: Statistics - Get Service Statistics; the journal is ours."""
    made = certificate()
    rest.create(device_id, made)
    device(made).connect()
    assert rest.call("GET", "/statistics/service").json() == {"connectedDeviceCount": 1}
    (entry,) = journal(azure, "connect")
    assert (entry["device_id"], entry["accepted"], entry["sha256"]) == (device_id, True, sha256_thumbprint(made.der))


def refused_device(case: str, rest: Rest) -> Made:
    made, device_id = certificate(), rest.about
    match case:
        case "unknown device":
            pass
        case "disabled":
            rest.create(device_id, made, status="disabled")
        case "thumbprint in neither slot":
            rest.create(device_id, certificate(), certificate())
        case "expired":
            made = certificate(starts_in_h=-2, ends_in_h=-1)
            rest.create(device_id, made)
        case "not valid yet":
            made = certificate(starts_in_h=1, ends_in_h=2)
            rest.create(device_id, made)
        case "identity of type certificateAuthority":
            rest.call("PUT", f"/devices/{device_id}", {"authentication": {"type": "certificateAuthority"}})
        case "identity of type sas":
            rest.call("PUT", f"/devices/{device_id}", {"authentication": {"type": "sas"}})
    return made


CASES = {
    "unknown device": "the device is not registered",
    "disabled": "the device is disabled",
    "thumbprint in neither slot": "the certificate's thumbprint is in neither slot",
    "expired": "the certificate has expired",
    "not valid yet": "the certificate is not valid yet",
    "identity of type certificateAuthority": "the identity is of type certificateAuthority, not selfSigned",
    "identity of type sas": "the identity is of type sas, not selfSigned",
}


@pytest.mark.parametrize("case", CASES)
def test_a_device_that_is_not_let_in_is_told_so(rest: Rest, device: Device, case: str) -> None:
    """docs: "Authenticate identities with X.509 certificates"; azure-iot-device: CONNACK 5 is a CredentialError."""
    with pytest.raises(CredentialError):
        device(refused_device(case, rest)).connect()


@JOURNAL
@pytest.mark.parametrize("case", CASES)
def test_a_refused_device_gets_connack_5(azure: StandIn, rest: Rest, device: Device, case: str, device_id: str) -> None:
    """docs: "Authenticate identities with X.509 certificates"; azure-iot-device: CONNACK 5 is a CredentialError."""
    made = refused_device(case, rest)
    with pytest.raises(CredentialError):
        device(made).connect()
    (entry,) = journal(azure, "connect")
    assert (entry["accepted"], entry["reason"], entry["device_id"]) == (False, CASES[case], device_id)
    assert entry["sha256"] == sha256_thumbprint(made.der)
    assert journal(azure, "disconnect") == []


@KNOBS
@pytest.mark.parametrize("case", CASES)
def test_a_refused_device_gets_a_tls_alert_with_the_knob(azure: StandIn, rest: Rest, device: Device, case: str) -> None:
    """Knob hub_refusal "tls": azure-iot-sdk-python#968 saw an alert, which the client takes for a network failure."""
    made = refused_device(case, rest)
    azure.control.patch("/knobs", {"hub_refusal": "tls"})
    with pytest.raises(ConnectionFailedError):
        device(made).connect()
    assert [entry["accepted"] for entry in journal(azure, "connect")] == [False]


@KNOBS
def test_the_identity_may_be_late_to_say_who_is_connected(
    azure: StandIn, rest: Rest, device: Device, device_id: str
) -> None:
    """Knob connection_state_lag_s: docs, "Monitor device connection status"; both ways, and never a state of old."""
    azure.control.patch("/knobs", {"connection_state_lag_s": 0.3})
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    assert state(rest) == "Disconnected"
    until(lambda: state(rest) == "Connected")
    client.disconnect()
    until(lambda: journal(azure, "disconnect"))
    assert state(rest) == "Connected"
    until(lambda: state(rest) == "Disconnected")


@CLOCK
def test_a_live_connection_outlives_its_certificate(azure: StandIn, rest: Rest, device: Device, device_id: str) -> None:
    """azure-iot-sdk-python#968: it ran 27 hours past expiry and was refused at the next reconnect."""
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    azure.control.put("/clock", {"advance_s": 27 * 3600})
    client.send_message("still here")
    assert client.connected
    client.disconnect()
    with pytest.raises(CredentialError):
        client.connect()


def test_disabling_the_identity_cuts_the_connection(target: Target, rest: Rest, device: Device, device_id: str) -> None:
    """azure-iot-sdk-c#2300, azure-iot-sdk-csharp#42."""
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    change(rest, status="disabled")
    gone(client, target)
    target.until(lambda: state(rest) == "Disconnected")
    with pytest.raises(CredentialError):
        client.connect()


def test_deleting_the_identity_cuts_the_connection(target: Target, rest: Rest, device: Device, device_id: str) -> None:
    """azure-iot-sdk-csharp#42; also when the device ID is created again before the hub gets round to it."""
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    rest.call("DELETE", f"/devices/{device_id}", If_Match="*")
    rest.create(device_id, made)
    gone(client, target)


@JOURNAL
@pytest.mark.parametrize(("act", "reason"), [("disable", "was disabled"), ("delete", "was deleted")])
def test_the_journal_says_why_a_connection_was_cut(
    azure: StandIn, rest: Rest, device: Device, device_id: str, act: str, reason: str
) -> None:
    """No fact about Azure."""
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    if act == "disable":
        change(rest, status="disabled")
    else:
        rest.call("DELETE", f"/devices/{device_id}", If_Match="*")
    assert dropped(client, azure) == f"the device identity {reason}"


@KNOBS
def test_the_cut_comes_after_a_while(azure: StandIn, rest: Rest, device: Device, device_id: str) -> None:
    """Knob identity_drop_delay_s: seconds to a minute on the real hub; a change taken back in time cuts nothing."""
    azure.control.patch("/knobs", {"identity_drop_delay_s": 0.3})
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    change(rest, status="disabled")
    assert client.connected
    change(rest, status="enabled")
    threading.Event().wait(0.5)
    assert client.connected


def test_new_thumbprints_leave_the_live_connection_alone(
    target: Target, rest: Rest, device: Device, device_id: str
) -> None:
    """Knob drop_session_on_thumbprint_change off: X.509 is judged when TLS is set up. Nothing says otherwise."""
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    change(rest, authentication=pinned("F" * 64, "F" * 64))
    threading.Event().wait(target.pace.quiet)
    assert client.connected
    client.disconnect()
    with pytest.raises(CredentialError):
        client.connect()


@KNOBS
def test_new_thumbprints_cut_the_live_connection_with_the_knob(
    azure: StandIn, rest: Rest, device: Device, device_id: str
) -> None:
    """Knob drop_session_on_thumbprint_change on; a certificate that moves to the other slot still holds."""
    azure.control.patch("/knobs", {"drop_session_on_thumbprint_change": True})
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    change(rest, authentication=pinned("F" * 64, sha256_thumbprint(made.der)))
    threading.Event().wait(0.2)
    assert client.connected
    change(rest, authentication=pinned("F" * 64, "E" * 64))
    assert dropped(client, azure) == "the certificate's thumbprint is in neither slot any more"


def test_a_second_connection_closes_the_first(target: Target, rest: Rest, device: Device, device_id: str) -> None:
    """docs: troubleshooting, 400027 ConnectionForcefullyClosedOnNewConnection; here with the other slot's leaf."""
    old, new = certificate(), certificate()
    rest.create(device_id, old, new)
    first, second = device(old), device(new)
    first.connect()
    second.connect()
    gone(first, target)
    assert second.connected
    target.until(lambda: state(rest) == "Connected")


@JOURNAL
def test_the_journal_tells_a_second_connection_from_the_first(
    azure: StandIn, rest: Rest, device: Device, device_id: str
) -> None:
    """docs: troubleshooting, 400027."""
    old, new = certificate(), certificate()
    rest.create(device_id, old, new)
    first, second = device(old), device(new)
    first.connect()
    second.connect()
    assert dropped(first, azure) == "400027 ConnectionForcefullyClosedOnNewConnection"
    sessions = [entry["session"] for entry in journal(azure, "connect")]
    assert [entry["session"] for entry in journal(azure, "disconnect")] == sessions[:1]


@INSIDE
def test_a_client_that_reconnects_by_itself_comes_back_subscribed(
    azure: StandIn, rest: Rest, device: Device, device_id: str
) -> None:
    """azure-iot-device connects with clean session 0 and does not subscribe again: the hub keeps subscriptions."""
    made = certificate()
    rest.create(device_id, made)
    client = device(made, connection_retry=True, connection_retry_interval=1)
    client.connect()
    client.on_method_request_received = lambda _call: None
    change(rest, status="disabled")
    dropped(client, azure)
    change(rest, status="enabled")
    client.connect()
    assert azure.world.hub.sessions.subscribed(device_id, "$iothub/methods/POST/#")


@INSIDE
def test_telemetry_is_counted_and_shows_activity(azure: StandIn, rest: Rest, device: Device, device_id: str) -> None:
    """REST: Device, lastActivityTime."""
    made = certificate()
    rest.create(device_id, made)
    client = device(made)
    client.connect()
    before = rest.call("GET", f"/devices/{device_id}").json()["lastActivityTime"]
    client.send_message("one")
    client.send_message("two")
    until(lambda: azure.world.hub.telemetry[device_id] == 2, "the counting")
    assert rest.call("GET", f"/devices/{device_id}").json()["lastActivityTime"] > before


@QUOTAS
def test_too_many_new_connections_are_put_off(azure: StandIn, rest: Rest, device: Device, device_id: str) -> None:
    """docs: quotas and throttling, new device connections. A client tries again later: no CredentialError."""
    made = certificate()
    rest.create(device_id, made)
    azure.control.patch("/throttles", {"limits": {"iothub/connections": {"amount": 1, "per_s": 3600}}})
    client = device(made)
    client.connect()
    client.disconnect()
    with pytest.raises(ConnectionFailedError):
        client.connect()
    assert journal(azure, "connect")[-1]["reason"] == "too many new connections"


@KNOBS
def test_an_identity_that_was_disabled_reads_so_through_the_service_client(
    azure: StandIn, rest: Rest, device: Device, device_id: str
) -> None:
    """What azure-iot-hub makes of it (`get_device`): Disconnected, since when and why, once the hub has cut it.

    docs: "Understand the identity registry", device identity properties; knob identity_drop_delay_s.
    """
    azure.control.patch("/knobs", {"identity_drop_delay_s": 1})
    made = certificate()
    rest.create(device_id, made)
    registry = registry_manager(azure)
    never = registry.get_device(device_id)
    assert (never.connection_state, never.connection_state_updated_time.year) == ("Disconnected", 1)
    assert (never.status_reason, never.cloud_to_device_message_count) == (None, 0)
    client = device(made)
    client.connect()
    azure.control.post("/queued-messages", {"device_id": device_id, "count": 4})
    connected = registry.get_device(device_id)
    assert connected.connection_state == "Connected"
    assert connected.connection_state_updated_time > never.connection_state_updated_time
    change(rest, status="disabled", statusReason="Key stolen: INC-7")
    asked = registry.get_device(device_id)
    assert (asked.status, asked.connection_state) == ("disabled", "Connected"), "not cut yet"
    dropped(client, azure)
    cut = registry.get_device(device_id)
    assert (cut.status, cut.status_reason, cut.connection_state) == ("disabled", "Key stolen: INC-7", "Disconnected")
    assert cut.connection_state_updated_time >= connected.connection_state_updated_time + timedelta(seconds=1)
    assert cut.connection_state_updated_time.tzinfo is not None
    assert cut.generation_id == connected.generation_id == never.generation_id
    assert cut.cloud_to_device_message_count == 4


@OURS
def test_an_identity_that_was_made_again_reads_as_another_one_through_the_service_client(
    azure: StandIn, rest: Rest, device: Device, device_id: str
) -> None:
    """docs: "Understand the identity registry": generationId tells devices of one ID apart."""
    made = certificate()
    rest.create(device_id, made, status="enabled", statusReason="first")
    registry = registry_manager(azure)
    client = device(made)
    client.connect()
    azure.control.post("/queued-messages", {"device_id": device_id, "count": 4})
    first = registry.get_device(device_id)
    registry.delete_device(device_id)
    dropped(client, azure)
    rest.create(device_id, made)
    second = registry.get_device(device_id)
    assert isinstance(second.generation_id, str)
    assert second.generation_id != first.generation_id
    assert (first.connection_state, first.status_reason) == ("Connected", "first")
    assert (second.connection_state, second.status_reason) == ("Disconnected", None)
    assert second.connection_state_updated_time.year == 1
    assert (first.cloud_to_device_message_count, second.cloud_to_device_message_count) == (4, 0)
