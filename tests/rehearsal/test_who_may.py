"""Who may read, on the real local host: real tokens of the stand-in's authority, fetched and checked over TLS."""

import base64
from collections.abc import Iterator

import pytest
import requests

from tests.http_api import operations
from tests.rehearsal.plant import Host, Plant

PATHS = ["/api/rollovers", "/api/rollovers/individual.nobody.1"]


@pytest.fixture(scope="module")
def host(plant: Plant) -> Iterator[Host]:
    """A host for this file."""
    plant.standin.control.post("/reset")
    running = plant.host()
    yield running
    running.stop()


def token(plant: Plant, principal: str, resource: str = "api://rollover") -> str:
    environment = plant.document["environment"]
    answer = requests.get(
        environment["IDENTITY_ENDPOINT"],
        params={"api-version": "2019-08-01", "resource": resource, "client_id": principal},
        headers={"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]},
        timeout=10,
    )
    return str(answer.json()["access_token"])


def read(host: Host, path: str = PATHS[0], **headers: str) -> requests.Response:
    return requests.get(host.url + path, headers=headers, timeout=30)


@pytest.mark.parametrize("principal", ["oncall", "oncall-2", "operator", "auditor"])
def test_any_role_may_read(host: Host, principal: str) -> None:
    assert [host.api(principal).call("GET", path).status_code for path in PATHS] == [200, 404]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_reads_without_a_token(host: Host, path: str) -> None:
    answer = read(host, path)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_a_key_of_the_host_opens_nothing(host: Host) -> None:
    """Not even the master key: whoever holds one is not yet anybody."""
    for key in ("function", "master"):
        assert read(host, **{"x-functions-key": host.keys[key]}).status_code == 401


def test_what_a_front_end_says_about_the_caller_is_not_read(host: Host) -> None:
    """Decision 7: nothing tells a forged header from a real one."""
    said = base64.b64encode(b'{"auth_typ": "aad", "claims": [{"typ": "roles", "val": "Breach.Execute"}]}').decode()
    forged = {"X-MS-CLIENT-PRINCIPAL": said, "X-MS-CLIENT-PRINCIPAL-ID": "x", "X-MS-CLIENT-PRINCIPAL-IDP": "aad"}
    assert read(host, **forged).status_code == 401


def test_a_token_for_azure_opens_nothing(plant: Plant, host: Host) -> None:
    """The operator may do everything in the vault; that token is not for us."""
    bearer = token(plant, "operator", "https://vault.azure.net")
    assert read(host, Authorization=f"Bearer {bearer}").status_code == 401


def test_somebody_without_a_role_is_known_and_refused(plant: Plant, host: Host) -> None:
    bearer = token(plant, "rollover")
    answer = read(host, Authorization=f"Bearer {bearer}")
    assert (answer.status_code, answer.json()["roles"]) == (
        403,
        ["Breach.Execute", "Rollover.Operate", "Rollover.Read"],
    )
    assert 'call_refused caller="rollover (' in host.log.read_text()


def test_a_role_that_is_taken_away_is_gone_with_the_next_token(plant: Plant, host: Host) -> None:
    plant.standin.control.put("/app-roles/auditor", {"roles": []})
    assert host.api("auditor").call("GET", PATHS[0]).status_code == 403
    plant.standin.control.put("/app-roles/auditor", {"roles": ["Rollover.Read"]})
    assert host.api("auditor").call("GET", PATHS[0]).status_code == 200


def test_a_token_ends_by_the_clock_of_the_installation(plant: Plant, host: Host) -> None:
    old = token(plant, "auditor")
    plant.move_clock(hours=25)
    assert host.api("auditor").call("GET", PATHS[0]).status_code == 200  # the host follows the clock by now
    answer = read(host, Authorization=f"Bearer {old}")
    assert (answer.status_code, answer.json()["detail"]) == (401, "the token is out of date")


def test_without_issuer_and_audience_the_api_is_closed(plant: Plant, host: Host) -> None:
    host.stop()
    closed = plant.host(ENTRA_ISSUER="", ENTRA_AUDIENCE="")
    try:
        answer = closed.api("oncall").call("GET", PATHS[0])
        assert answer.status_code == 503
        assert "ENTRA_ISSUER and ENTRA_AUDIENCE" in answer.json()["detail"]
    finally:
        closed.stop()


def test_nobody_passes_while_the_keys_cannot_be_read(plant: Plant, host: Host) -> None:
    host.stop()
    plant.standin.control.post("/faults", {"service": "entra", "kind": "status", "status": 503, "times": -1})
    blind = plant.host()
    try:
        assert blind.api("oncall").call("GET", PATHS[0]).status_code == 503
    finally:
        blind.stop()
        plant.standin.control.delete("/faults")


def test_no_token_is_in_the_log(host: Host) -> None:
    text = host.log.read_text()
    assert "call_refused" in text
    assert "eyJ" not in text


MAY = {"oncall": {"Breach.Execute"}, "operator": {"Rollover.Operate"}, "auditor": {"Rollover.Read"}, "rollover": set()}


def test_every_endpoint_is_open_to_its_roles_and_to_nobody_else(plant: Plant) -> None:
    """As tests/functions/test_authorization.py, over HTTP and with tokens of the stand-in's authority."""
    running = plant.host()
    wrong, cells = [], 0
    try:
        headers = {who: {"Authorization": f"Bearer {token(plant, who)}"} for who in MAY}
        headers["no token"] = {}
        headers["a master key"] = {"x-functions-key": running.keys["master"]}
        headers["a token for the vault"] = {
            "Authorization": f"Bearer {token(plant, 'oncall', 'https://vault.azure.net')}"
        }
        for name, (method, path, said) in operations().items():
            url = running.url + path.replace("{id}", "nobody" if "/devices/" in path else "individual.nobody.1")
            body = {"reason": "x", **({"registration_id": "nobody"} if name == "breach" else {})}
            for who, sent in headers.items():
                status = requests.request(method, url, headers=sent, json=body, timeout=30).status_code
                allowed = bool(MAY.get(who, set()) & set(said["x-roles"]))
                expected = {200, 404} if allowed else {403} if who in MAY else {401}
                wrong += [] if status in expected else [(who, name, status)]
                cells += 1
    finally:
        running.stop()
    print(f"\n{cells} cells over HTTP, {len(wrong)} wrong")
    assert not wrong
