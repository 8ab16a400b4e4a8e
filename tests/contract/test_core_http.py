"""The front of every service: TLS, routes, faults and quotas, seen by ordinary clients."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from aiohttp import web
from azure.identity import ManagedIdentityCredential

from local.azure.authority import make_authority
from local.azure.http import Operation, Refusal, json_reply, plain_refusal, service_app
from local.azure.tls import serve_tls, server_context
from local.azure.world import World
from tests.conftest import test_net
from tests.contract.core_certificates import self_signed
from tests.contract.reasons import OURS
from tests.standin import LoopThread, StandIn

pytestmark = OURS


def get(azure: StandIn, path: str = "/certificates", method: str = "GET") -> requests.Response:
    """One authorized request to the vault, on a connection of its own."""
    bearer = ManagedIdentityCredential(client_id="operator").get_token("https://vault.azure.net/.default").token
    separator = "&" if "?" in path else "?"
    url = f"{azure.endpoints['keyvault']['url']}{path}{separator}api-version=7.3"
    return requests.request(method, url, headers={"Authorization": f"Bearer {bearer}"}, timeout=5)


def context(azure: StandIn, version: ssl.TLSVersion, pem: Path | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = made.maximum_version = version
    made.load_verify_locations(azure.endpoints["ca_file"])
    if pem is not None:
        made.load_cert_chain(pem)
    return made


def exchange(azure: StandIn, host: str, made: ssl.SSLContext, request: bytes) -> bytes:
    """One raw request; an IP address as server name sends no SNI."""
    with (
        socket.create_connection((host, 8443), timeout=5) as plain,
        made.wrap_socket(plain, server_hostname=host) as secure,
    ):
        secure.sendall(request)
        answer = b""
        while chunk := secure.recv(65536):
            answer += chunk
        return answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("service", ["dps", "hub", "vault", "arm", "topic"])
def test_every_service_speaks_tls_12_and_13_without_sni(azure: StandIn, service: str, version: ssl.TLSVersion) -> None:
    """azure-iot-device speaks only 1.2."""
    host = getattr(azure.world.names, f"{service}_host")
    request = f"GET /nothing HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    answer = exchange(azure, host, context(azure, version), request)
    assert answer.startswith(b"HTTP/1.1 501 Not Implemented")
    assert b"not emulated: GET /nothing" in answer


def test_older_tls_is_refused(azure: StandIn) -> None:
    made = context(azure, ssl.TLSVersion.TLSv1_2)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        exchange(azure, azure.world.names.vault_host, made, b"")


class No(Refusal):
    status = 429


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A service of its own that tells what it was sent: its URL, and the file with its root."""

    async def look(request: web.Request) -> web.Response:
        chain = [one.hex() for one in request["peer_chain"]]
        return json_reply(200, {"chain": chain, "id": request.match_info["id"], "query": dict(request.query)})

    async def fail(_request: web.Request) -> web.Response:
        raise RuntimeError("a defect")

    async def anybody(_request: web.Request, _operation: Operation) -> str:
        return "anybody"

    host = f"{test_net()}.7"
    authority = make_authority([host])
    operations = [
        Operation("Look", "GET", "/things/{id}", look, writes=False),
        Operation("Fail", "POST", "/things", fail, writes=True),
    ]
    app = service_app(
        "mirror",
        operations,
        World(test_net()),
        authorize=anybody,
        refusal_reply=plain_refusal,
        throttled=lambda _wait: No(),
    )
    loop, runner = LoopThread(), web.AppRunner(app)
    loop.run(runner.setup())
    assert runner.server is not None
    server = loop.run(serve_tls(runner.server, host, 18443, server_context(authority)))
    ca_file, _ = authority.write(tmp_path_factory.mktemp("ca"))
    yield f"https://{host}:18443", str(ca_file)
    server.close()
    loop.run(runner.cleanup())
    loop.stop()


def test_an_unknown_self_signed_client_certificate_reaches_the_handler(mirror: tuple[str, str], tmp_path: Path) -> None:
    """The front ends of DPS and hub let any certificate in and judge it later."""
    url, ca_file = mirror
    pem, der = self_signed("stranger", tmp_path)
    assert requests.get(f"{url}/things/1", verify=ca_file, cert=str(pem), timeout=5).json()["chain"] == [der.hex()]


def test_a_chain_arrives_leaf_first(mirror: tuple[str, str], tmp_path: Path) -> None:
    url, ca_file = mirror
    pem, der = self_signed("leaf", tmp_path)
    other_pem, other = self_signed("issuer", tmp_path)
    pem.write_text(pem.read_text() + other_pem.read_text().split("-----END PRIVATE KEY-----\n")[1])
    found = requests.get(f"{url}/things/1", verify=ca_file, cert=str(pem), timeout=5).json()["chain"]
    assert found == [der.hex(), other.hex()]


def test_a_client_may_come_without_a_certificate(mirror: tuple[str, str]) -> None:
    assert requests.get(f"{mirror[0]}/things/1", verify=mirror[1], timeout=5).json()["chain"] == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(azure: StandIn, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A resumed session would not show the client's chain again."""
    pem, _ = self_signed("again", tmp_path)
    host = azure.world.names.vault_host
    made, session = context(azure, version, pem), None
    for _ in range(2):
        with (
            socket.create_connection((host, 8443), timeout=5) as plain,
            made.wrap_socket(plain, server_hostname=host, session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert secure.recv(100).startswith(b"HTTP/1.1 501")
            assert not secure.session_reused
            session = secure.session


@pytest.mark.parametrize("path", ["/things/a%3Ab?api%2Dversion=1", "/things/a:b/?api-version=1"])
def test_paths_and_parameter_names_are_decoded(mirror: tuple[str, str], path: str) -> None:
    """The Node and Python Key Vault clients send `?api%2Dversion=` and a trailing slash."""
    found = requests.get(mirror[0] + path, verify=mirror[1], timeout=5).json()
    assert (found["id"], found["query"]) == ("a:b", {"api-version": "1"})


def test_a_defect_is_a_500(mirror: tuple[str, str]) -> None:
    answer = requests.post(f"{mirror[0]}/things", verify=mirror[1], timeout=5)
    assert answer.json()["error"]["code"] == "InternalServerError"


def test_a_known_path_with_another_method_is_not_emulated(azure: StandIn) -> None:
    answer = get(azure, "/certificates", "PUT")
    assert answer.status_code == 501
    assert answer.json()["error"]["message"] == "not emulated: PUT /certificates"


def test_large_answers_arrive_whole(azure: StandIn) -> None:
    for _ in range(3000):
        azure.world.journal.append("connect", service="none", filler="x" * 100)
    assert len(azure.control.get("/journal?service=none")) == 3000


# --- what goes wrong on request ---


def test_a_status_fault_answers_instead_of_the_service(azure: StandIn) -> None:
    azure.control.post("/faults", {"kind": "status", "service": "keyvault", "status": 503, "retry_after": 2})
    answer = get(azure)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert get(azure).status_code == 200


def test_a_fault_lets_the_first_requests_pass(azure: StandIn) -> None:
    azure.control.post("/faults", {"kind": "status", "service": "keyvault", "skip": 2, "times": 2})
    assert [get(azure).status_code for _ in range(5)] == [200, 200, 503, 503, 200]


def test_a_fault_may_strike_one_certificate_alone(azure: StandIn) -> None:
    rule = {"kind": "status", "status": 403, "path": "/certificates/one/*", "times": -1}
    azure.control.post("/faults", {**rule, "service": "keyvault"})
    assert [get(azure, f"/certificates/{name}/").status_code for name in ("one", "none", "one")] == [403, 404, 403]


def test_a_fault_may_strike_only_writes_of_one_operation(azure: StandIn) -> None:
    azure.control.post("/faults", {"kind": "status", "operation": "DeleteCertificate", "only_writes": True})
    assert get(azure).status_code == 200
    assert get(azure, "/certificates/a", "DELETE").status_code == 503


def test_latency_delays_the_answer(azure: StandIn) -> None:
    azure.control.post("/faults", {"kind": "latency", "seconds": 0.2})
    started = time.monotonic()
    assert get(azure).status_code == 200
    assert time.monotonic() - started > 0.2


def test_a_reset_cuts_before_the_work_is_done(azure: StandIn) -> None:
    make(azure, "kept")
    azure.control.post("/faults", {"kind": "reset", "operation": "DeleteCertificate"})
    with pytest.raises(requests.ConnectionError):
        get(azure, "/certificates/kept", "DELETE")
    assert get(azure, "/certificates/kept").status_code == 200


def test_a_lost_reply_cuts_after_the_work_is_done(azure: StandIn) -> None:
    make(azure, "gone")
    azure.control.post("/faults", {"kind": "lost_reply", "operation": "DeleteCertificate"})
    with pytest.raises(requests.ConnectionError):
        get(azure, "/certificates/gone", "DELETE")
    assert get(azure, "/certificates/gone").status_code == 404
    [entry] = [one for one in azure.control.get("/journal?kind=request&service=keyvault") if one["fault"]]
    assert (entry["operation"], entry["fault"], entry["writes"]) == ("DeleteCertificate", "lost_reply", True)


def make(azure: StandIn, name: str) -> None:
    bearer = ManagedIdentityCredential(client_id="operator").get_token("https://vault.azure.net/.default").token
    url = f"{azure.endpoints['keyvault']['url']}/certificates/{name}/create?api-version=7.3"
    policy = {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=a"}, "key_props": {"kty": "EC"}}
    headers = {"Authorization": f"Bearer {bearer}"}
    assert requests.post(url, json={"policy": policy}, headers=headers, timeout=5).status_code == 202


def test_probable_faults_repeat_with_their_seed(azure: StandIn) -> None:
    rule = {"kind": "status", "service": "keyvault", "probability": 0.5, "seed": 7, "times": -1}
    runs = []
    for _ in range(2):
        azure.control.delete("/faults")
        azure.control.post("/faults", rule)
        runs.append([get(azure).status_code for _ in range(12)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


@pytest.mark.parametrize("rule", [{"kind": "earthquake"}, {}, {"kind": "reset", "colour": "red"}])
def test_a_rule_that_is_no_fault_is_refused(azure: StandIn, rule: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match="400"):
        azure.control.post("/faults", rule)


# --- quotas ---


def test_a_spent_quota_is_a_429_with_the_time_to_wait(azure: StandIn) -> None:
    azure.control.patch("/throttles", {"limits": {"keyvault/transactions": {"amount": 2, "per_s": 60}}})
    answers = [get(azure) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) in (29, 30)


def test_a_quota_fills_again_on_the_stand_ins_clock(azure: StandIn) -> None:
    azure.control.patch("/throttles", {"limits": {"keyvault/transactions": {"amount": 1, "per_s": 3600}}})
    assert [get(azure).status_code for _ in range(2)] == [200, 429]
    azure.control.put("/clock", {"advance_s": 3600})
    assert get(azure).status_code == 200


@pytest.mark.parametrize(("tier", "units", "amount"), [("S1", 1, 100), ("S2", 3, 300), ("S3", 2, 10000)])
def test_hub_quotas_grow_with_tier_and_units(azure: StandIn, tier: str, units: int, amount: int) -> None:
    """docs, "IoT Hub quotas and throttling": identity registry operations a minute and unit."""
    shown = azure.control.patch("/throttles", {"hub_tier": tier, "hub_units": units})
    assert shown["limits"]["iothub/registry"] == {"amount": amount, "per_s": 60}
