"""A service takes the connection and says nothing: a call ends in time, and says which service it was."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from shared.clients.authorities import AuthoritiesClient
from shared.clients.hub import HubClient
from shared.clients.limits import LIMITS, Limits
from shared.clients.provisioning import ProvisioningClient
from shared.clients.storage import open_storage
from shared.clients.topic import TopicClient
from shared.clients.vault import VaultClient
from shared.errors import ServiceUnavailable
from shared.ledger import Write
from shared.plans import Step
from shared.settings import Settings
from tests.certificates import NOW, a_certificate
from tests.fakes import some_settings

ROOT = Path(__file__).resolve().parents[2]
SOON = Limits(connect_s=0.3, read_s=0.4, hub_read_s=0.4)
DPS = "/subscriptions/0/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/dps"
STORED = "AccountName=a;AccountKey=YQ==;TableEndpoint=http://{0}/a;QueueEndpoint=http://{0}/a"


class NoToken:
    def get_token(self, *_: str, **__: object) -> AccessToken:
        return AccessToken("token", int(time.time()) + 3600)

    def get_token_info(self, *_: str, **__: object) -> AccessToken:
        return self.get_token()


@pytest.fixture
def silent() -> Iterator[str]:
    """Where somebody takes every connection, and never says a word, be it of TLS."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield "{}:{}".format(*listening.getsockname())


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same, but that TLS is spoken: the request is taken, and never answered."""
    pem = tmp_path / "service.pem"
    pem.write_bytes(_own_certificate())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    taken = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listens:

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(context.wrap_socket(listens.accept()[0], server_side=True))

        threading.Thread(target=take, daemon=True).start()
        yield "{}:{}".format(*listens.getsockname())
        listens.shutdown(socket.SHUT_RDWR)
    for one in taken:
        one.close()


def _own_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "silent")])
    today = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, today - timedelta(days=1), today + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM) + key.private_bytes(*pem)


def settings_at(host: str) -> Settings:
    url = f"https://{host}"
    return replace(
        some_settings(),
        dps_endpoint=url,
        hub_hostname=host,
        vault_url=url,
        topic_endpoint=f"{url}/api/events",
        arm_endpoint=url,
        storage_connection=STORED.format(host),
    )


def elsewhere(call: Callable[[], object]) -> object:
    with ThreadPoolExecutor() as threads:
        return threads.submit(call).result()


def calls(host: str) -> dict[str, tuple[str, Callable[[], object]]]:
    """By what a person calls it: how the problem names it, and a call that meets it."""
    settings, token = settings_at(host), NoToken()
    dps, hub = ProvisioningClient(settings, token, SOON), HubClient(settings, token, SOON)
    vault, topic = VaultClient(settings, token, SOON), TopicClient(settings, token, SOON)
    authorities = AuthoritiesClient(settings, DPS, token, SOON)
    table, _, nudges = open_storage(settings, token, SOON)
    return {
        "DPS, a GET": ("DPS 127.", lambda: dps.enrollment("dev-01")),
        "DPS, a query": ("DPS 127.", lambda: list(dps.groups())),
        "DPS, a write": ("DPS 127.", lambda: dps.create("dev-01", {})),
        "the hub, a GET": ("IoT Hub 127.", lambda: hub.identity("dev-01")),
        "the hub, a query": ("IoT Hub 127.", lambda: hub.holders(["00"])),
        "the hub, in another thread": ("IoT Hub 127.", lambda: elsewhere(lambda: hub.identity("dev-01"))),
        "the hub, a job": ("IoT Hub 127.", lambda: hub.job("job")),
        "the vault, a GET": ("Key Vault", lambda: vault.latest("cert")),
        "the vault, a list": ("Key Vault", lambda: list(vault.certificates())),
        "the vault, a write": ("Key Vault", lambda: vault.merge("cert", [a_certificate().der])),
        "Resource Manager": ("Resource Manager", authorities.all),
        "the topic": ("Event Grid topic", lambda: topic.publish("1", "t", "s", {}, NOW)),
        "the table, a GET": ("table", lambda: table.read("p", "r")),
        "the table, a query": ("table", lambda: list(table.scan("r"))),
        "the table, a write": ("table", lambda: table.commit([Write({"PartitionKey": "p", "RowKey": "r"}, None)])),
        "the queue": ("queue", lambda: nudges.send(Step.UPLOAD_SECONDARY, "individual.dev-01.1")),
    }


STORAGE = ("the table, a GET", "the table, a query", "the table, a write", "the queue")
"""They speak no TLS here: as is Azurite's way."""


def seconds_until_given_up(what: str, host: str) -> float:
    named, call = calls(host)[what]
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=f"^{named}.*gave no answer"):
        call()
    return time.monotonic() - began


@pytest.mark.parametrize("what", calls("127.0.0.1:1"))
def test_a_silent_service_is_given_up_in_time_and_named(silent: str, what: str) -> None:
    assert seconds_until_given_up(what, silent) < 10, "by their defaults they take from 100 seconds to 20 minutes"


@pytest.mark.parametrize("what", [one for one in calls("127.0.0.1:1") if one not in STORAGE])
def test_a_service_that_takes_the_request_and_says_nothing_is_given_up_too(listening: str, what: str) -> None:
    assert SOON.read_s <= seconds_until_given_up(what, listening) < 10


def test_a_breach_call_that_meets_a_silent_vault_and_a_silent_hub_answers_in_half_a_minute() -> None:
    """The vault is asked once (``shared.asked_once``), and what fails at the hub or at DPS ends the call."""
    assert LIMITS.read_s + LIMITS.hub_read_s <= 30
    assert LIMITS.hub_read_s >= LIMITS.read_s


QUITS = """
import sys
from shared.clients.hub import HubClient
from tests.functions.test_silent_services import NoToken, settings_at
sys.kept_to_the_very_end = HubClient(settings_at("127.0.0.1:1"), NoToken())
"""


def test_a_process_that_ends_with_its_client_of_the_hub_says_nothing() -> None:
    """The SDK's AMQP client, taken apart with the interpreter, wrote four errors without a word to stderr."""
    ended = subprocess.run(
        [sys.executable, "-c", QUITS], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
