"""The device API over MQTT, with the real device client; and what that client never shows, with a bare one."""

import json
import queue
import re
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from azure.iot.device import X509, ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError, CredentialError

from tests.contract.dps_kit import Credential, NotingHub, self_signed, service, x509_enrollment
from tests.contract.reasons import FAULTS, JOURNAL, KNOBS, OURS, QUOTAS
from tests.contract.target import Target, at
from tests.standin import StandIn

ONE = self_signed("dev1")


@pytest.fixture
def hub(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> NotingHub:
    """Takes notes in the hub's place."""
    return NotingHub.in_place_of_the_hub(azure, monkeypatch)


@pytest.fixture(autouse=True)
def quick(target: Target) -> None:
    """Registrations end at once, at the stand-in."""
    target.hurry(assign_delay_s=0)


def enroll(azure: StandIn | Target, *slots: Any, name: str = "dev1", **members: Any) -> None:
    service(azure).enrollment.create_or_update(name, x509_enrollment(name, *slots, **members))


def register(azure: StandIn | Target, credential: Credential, folder: Path, registration_id: str = "dev1") -> Any:
    """One registration with azure-iot-device; its connection is shut down whatever happens."""
    chain, key = credential.files(folder)
    dps = at(azure).endpoints["dps"]
    client = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=dps["device_host"],
        registration_id=registration_id,
        id_scope=dps["id_scope"],
        x509=X509(cert_file=chain, key_file=key),
        **at(azure).device_options,
    )
    try:
        return client.register()
    finally:
        # It ends its connection itself after a success only, and has no public way to do so after a failure.
        if client._pipeline._running:
            client._pipeline.shutdown(callback=lambda **_: None)


def test_the_real_device_client_registers(target: Target, tmp_path: Path, dev1: str, one: Credential) -> None:
    """azure-docs iot-mqtt-connect-to-iot-dps; azure-iot-device 2.14."""
    pump = target.device_id("Pump-1")
    enroll(target, one, deviceId=pump, name=dev1)
    result = register(target, one, tmp_path, dev1)
    assert (result.status, result.registration_state.device_id) == ("assigned", pump)
    assert result.registration_state.assigned_hub == target.endpoints["iothub"]["device_host"]
    assert target.registry().get_device(pump).authentication.x509_thumbprint.primary_thumbprint == one.sha256


def test_a_device_that_nobody_enrolled_is_refused_at_register(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """azure-iot-cli-extension live tests: an error of the register itself, status 401."""
    with pytest.raises(ClientError) as refused:
        register(target, one, tmp_path, dev1)
    assert "401" in str(refused.value.__cause__)


def test_a_disabled_enrollment_shows_as_a_final_status(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """azure-iot-cli-extension live tests: status "disabled" with 200."""
    enroll(target, one, provisioningStatus="disabled", name=dev1)
    with pytest.raises(ClientError) as refused:
        register(target, one, tmp_path, dev1)
    assert "disabled" in str(refused.value.__cause__)


@JOURNAL
def test_a_certificate_of_another_name_is_refused_at_connect(azure: StandIn, tmp_path: Path) -> None:
    """A guess: CONNACK 5, which azure-iot-device shows as CredentialError."""
    with pytest.raises(CredentialError):
        register(azure, self_signed("dev2"), tmp_path)
    (entry,) = azure.control.get("/journal?kind=connect&service=dps")
    assert (entry["accepted"], entry["device_id"]) == (False, "dev1")


class CutOff(Exception):
    """The connection was refused or ended before the reply; the text has paho's return code."""


def talk(
    azure: StandIn | Target,
    folder: Path,
    *requests: tuple[str, bytes],
    credential: Credential | None = ONE,
    password: str | None = None,
    name: str = "dev1",
) -> list[tuple[str, Any]]:
    """Send requests with a bare MQTT client; gives topic and body of each reply. CutOff when there is none."""
    dps = at(azure).endpoints["dps"]
    inbox: queue.Queue[tuple[str, Any]] = queue.Queue()
    client = paho.Client(name, clean_session=False)
    context = at(azure).tls()
    if credential:
        context.load_cert_chain(*credential.files(folder))
    client.tls_set_context(context)
    username = f"{dps['id_scope']}/registrations/{name}/api-version=2019-03-31&ClientVersion=test"
    client.username_pw_set(username, password)
    client.on_connect = lambda _c, _u, _f, code: inbox.put(("connected", code))
    client.on_subscribe = lambda *_: inbox.put(("subscribed", None))
    client.on_message = lambda _c, _u, message: inbox.put((message.topic, json.loads(message.payload)))
    client.on_disconnect = lambda _c, _u, code: inbox.put(("cut", code))
    client.connect(dps["device_host"], 8883)
    client.loop_start()
    try:
        if (answer := inbox.get(timeout=REPLY_S)) != ("connected", 0):
            raise CutOff(answer)
        client.subscribe("$dps/registrations/res/#", qos=1)
        inbox.get(timeout=REPLY_S)
        return [_exchange(client, inbox, topic, payload) for topic, payload in requests]
    finally:
        client.disconnect()
        client.loop_stop()


def _exchange(client: paho.Client, inbox: Any, topic: str, payload: bytes) -> tuple[str, Any]:
    client.publish(topic, payload, qos=1)
    reply: tuple[str, Any] = inbox.get(timeout=REPLY_S)
    if reply[0] == "cut":
        raise CutOff(reply)
    return reply


REPLY_S = 20
REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid={}"
BODY = b'{"registrationId": "dev1", "payload": null}'


def body_of(name: str) -> bytes:
    """What a device sends to register."""
    return json.dumps({"registrationId": name, "payload": None}).encode()


def test_replies_repeat_the_request_id_and_say_when_to_ask(
    target: Target, tmp_path: Path, one: Credential, dev1: str
) -> None:
    """azure-docs iot-mqtt-connect-to-iot-dps: $dps/registrations/res/202/?$rid=1&retry-after=3."""
    enroll(target, one, name=dev1)
    ((topic, body),) = talk(target, tmp_path, (REGISTER.format(1), body_of(dev1)), credential=one, name=dev1)
    assert topic == "$dps/registrations/res/202/?$rid=1&retry-after=3"
    assert body == {"operationId": body["operationId"], "status": "assigning"}
    status = f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={body['operationId']}"

    def ended() -> Any:
        ((topic, body),) = talk(target, tmp_path, (status, b" "), credential=one, name=dev1)
        return None if body["status"] == "assigning" else (topic, body)

    topic, body = target.until(ended, "the end of the registration")
    assert (topic, body["status"]) == ("$dps/registrations/res/200/?$rid=2", "assigned")


@KNOBS
def test_an_operation_that_is_not_over_says_so_again(azure: StandIn, tmp_path: Path) -> None:
    """azure-docs iot-mqtt-connect-to-iot-dps: 202 to a poll, with retry-after."""
    azure.control.patch("/knobs", {"assign_delay_s": 5})
    enroll(azure, ONE)
    ((_, body),) = talk(azure, tmp_path, (REGISTER.format(1), BODY))
    status = f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={body['operationId']}"
    ((topic, _),) = talk(azure, tmp_path, (status, b" "))
    assert topic == "$dps/registrations/res/202/?$rid=2&retry-after=3"


def test_a_refusal_has_the_error_body(target: Target, tmp_path: Path, dev1: str, one: Credential) -> None:
    """Logs in issues of azure-iot-sdk-c: {"errorCode":401002,"trackingId":…,"message":"Unauthorized",…}."""
    ((topic, body),) = talk(target, tmp_path, (REGISTER.format(7), body_of(dev1)), credential=one, name=dev1)
    assert topic == "$dps/registrations/res/401/?$rid=7"
    assert (body["errorCode"], body["message"]) == (401002, "Unauthorized")
    assert re.fullmatch(r"[0-9a-f-]{36}", body["trackingId"])


@pytest.mark.parametrize("payload", [b"", b"{", b'{"registrationId": "dev2"}'])
def test_a_payload_that_names_no_device_is_a_bad_request(
    target: Target, tmp_path: Path, payload: bytes, dev1: str, one: Credential
) -> None:
    """As over HTTPS."""
    ((topic, _),) = talk(target, tmp_path, (REGISTER.format(1), payload), credential=one, name=dev1)
    assert topic.startswith("$dps/registrations/res/400/")


@QUOTAS
def test_a_device_over_its_quota_is_told_when_to_come_back(azure: StandIn, tmp_path: Path) -> None:
    """azure-docs about-iot-dps: 429; over MQTT the wait stands in the topic."""
    azure.control.patch("/throttles", {"limits": {"dps/register": {"amount": 1, "per_s": 60}}})
    enroll(azure, ONE)
    replies = talk(azure, tmp_path, (REGISTER.format(1), BODY), (REGISTER.format(2), BODY))
    assert re.fullmatch(r"\$dps/registrations/res/429/\?\$rid=2&retry-after=\d+", replies[1][0])


@OURS
def test_registering_with_a_key_is_not_emulated(azure: StandIn, tmp_path: Path) -> None:
    """Azure can; the stand-in says that it lacks it."""
    body = {"registrationId": "dev1", "attestation": {"type": "symmetricKey"}}
    service(azure).enrollment.create_or_update("dev1", body)
    token = "SharedAccessSignature sr=x&sig=y&se=1"
    ((topic, said),) = talk(azure, tmp_path, (REGISTER.format(1), BODY), credential=None, password=token)
    assert topic.startswith("$dps/registrations/res/501/")
    assert "symmetricKey" in said["message"]


def test_who_shows_neither_certificate_nor_token_is_refused_at_connect(
    target: Target, tmp_path: Path, dev1: str
) -> None:
    """A guess: CONNACK 5."""
    with pytest.raises(CutOff):
        talk(target, tmp_path, (REGISTER.format(1), BODY), credential=None, name=dev1)


def test_a_topic_that_dps_does_not_have_ends_the_connection(
    target: Target, tmp_path: Path, dev1: str, one: Credential
) -> None:
    """A guess; as IoT Hub does."""
    with pytest.raises(CutOff):
        talk(target, tmp_path, (f"devices/{dev1}/messages/events/", b"{}"), credential=one, name=dev1)


@FAULTS
@pytest.mark.parametrize(("kind", "left"), [("lost_reply", 1), ("reset", 0)])
def test_faults_strike_devices_too(azure: StandIn, hub: NotingHub, tmp_path: Path, kind: str, left: int) -> None:
    """No fact about Azure: a lost reply leaves a registration under way, a reset does not."""
    enroll(azure, ONE)
    azure.control.post("/faults", {"kind": kind, "service": "dps", "operation": "DeviceRegister"})
    with pytest.raises(CutOff):
        talk(azure, tmp_path, (REGISTER.format(1), BODY))
    assert len(hub.asked) == left


@FAULTS
def test_an_injected_status_reaches_the_device(azure: StandIn, tmp_path: Path) -> None:
    """No fact about Azure."""
    enroll(azure, ONE)
    fault = {
        "kind": "status",
        "service": "dps",
        "operation": "DeviceRegister",
        "status": 500,
        "retry_after": 2,
    }
    azure.control.post("/faults", fault)
    replies = talk(azure, tmp_path, (REGISTER.format(1), BODY), (REGISTER.format(2), BODY))
    assert replies[0][0] == "$dps/registrations/res/500/?$rid=1&retry-after=2"
    assert "/202/" in replies[1][0]
