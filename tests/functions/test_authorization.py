"""Every endpoint for every kind of caller, with real tokens and the real check of them: who gets in, and who does not.

The table is printed; ``-s`` shows it.
"""

import base64
import json
import time

import pytest

from shared.callers import Role
from tests.builders import DEVICE, a_story
from tests.entra import callers, token
from tests.fakes import World
from tests.http_api import HttpApi, operations

OPERATIONS = operations()
EVERYTHING = tuple(Role)
PRINCIPAL = base64.b64encode(b'{"auth_typ": "aad", "claims": [{"typ": "roles", "val": "Breach.Execute"}]}').decode()
FORGED = {
    "X-MS-CLIENT-PRINCIPAL": PRINCIPAL,
    "X-MS-CLIENT-PRINCIPAL-ID": "oid-1",
    "X-MS-CLIENT-PRINCIPAL-NAME": "Ada",
    "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
}


def bearer(made: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {made}"}


HOURS_AGO = int(time.time()) - 7200
NOBODY: dict[str, dict[str, str]] = {
    "no token": {},
    "an empty one": bearer(""),
    "a malformed one": bearer("a.b.c"),
    "a token under Basic": {"Authorization": f"Basic {token(*EVERYTHING)}"},
    "another audience": bearer(token(*EVERYTHING, aud="https://vault.azure.net")),
    "an expired one": bearer(token(*EVERYTHING, nbf=HOURS_AGO, exp=HOURS_AGO + 3600)),
    "one of tomorrow": bearer(token(*EVERYTHING, nbf=int(time.time()) + 86_400)),
    "another issuer": bearer(token(*EVERYTHING, iss="https://login.example/evil/v2.0")),
    "another tenant": bearer(token(*EVERYTHING, tid="72f988bf-86f1-41af-91ab-2d7cd011db47")),
    "another key": bearer(token(*EVERYTHING, signed_with="stranger")),
    "nobody's ID": bearer(token(*EVERYTHING, oid=None)),
    "a forged principal": FORGED,
    "a function key": {"x-functions-key": "key"},
    "both, and a wrong token": {**FORGED, "x-functions-key": "key", **bearer(token(*EVERYTHING, signed_with="x"))},
}
SOMEBODY: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no role": (bearer(token()), ()),
    "a role in other letters": (bearer(token("breach.execute")), ()),
    "no role, a forged principal": ({**FORGED, **bearer(token())}, ()),
    **{f"{role} alone": (bearer(token(role)), (role,)) for role in Role},
    "Rollover.Read, a forged principal": ({**FORGED, **bearer(token(Role.ROLLOVER_READ))}, (Role.ROLLOVER_READ,)),
    "all roles": (bearer(token(*EVERYTHING)), EVERYTHING),
}


def statuses(http: HttpApi, headers: dict[str, str]) -> dict[str, int]:
    """What each endpoint answers, of a rollover that there is not and a device that there is not."""
    found = {}
    for name, (method, path, _) in OPERATIONS.items():
        target = "nobody" if "/devices/" in path else "individual.nobody.1"
        body = {"reason": "x", **({"registration_id": "nobody"} if name == "breach" else {})}
        sent = json.dumps(body).encode() if method == "POST" else b""
        found[name] = http.call(method, path.replace("{id}", target), None, sent, headers=headers).status
    return found


def table(rows: dict[str, dict[str, int]]) -> str:
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{name:>10}" for name in OPERATIONS)]
    lines += [f"{who:<{width}}" + "".join(f"{status:>10}" for status in row.values()) for who, row in rows.items()]
    return "\n".join(lines)


@pytest.fixture
def world() -> World:
    made = a_story()
    made.callers = callers()
    return made


@pytest.fixture
def http(world: World, monkeypatch: pytest.MonkeyPatch) -> HttpApi:
    return HttpApi(world, monkeypatch)


def test_every_endpoint_is_open_to_its_roles_and_to_nobody_else(http):
    allowed = {name: set(said["x-roles"]) for name, (_, _, said) in OPERATIONS.items()}
    rows = {who: statuses(http, headers) for who, headers in NOBODY.items()}
    wrong = [(who, name) for who, row in rows.items() for name, status in row.items() if status != 401]
    for who, (headers, roles) in SOMEBODY.items():
        rows[who] = statuses(http, headers)
        for name, status in rows[who].items():
            expected = {200, 404} if allowed[name] & set(roles) else {403}
            wrong += [] if status in expected else [(who, name)]
    print(f"\n{table(rows)}\n{sum(map(len, rows.values()))} cells, {len(wrong)} wrong")
    assert not wrong
    assert all(200 in {row["rollovers"]} for who, row in rows.items() if "alone" in who or who == "all roles")


# --- what a role may depends on the rollover too -----------------------------------------------------------------


@pytest.mark.parametrize("verb", ["cancel", "retry"])
@pytest.mark.parametrize("begun_by", ["breach", "disallow"])
def test_an_operator_may_not_touch_what_contains(verb, begun_by, http):
    executor, operator = token(Role.BREACH_EXECUTE), token(Role.ROLLOVER_OPERATE)
    if begun_by == "breach":
        shown = http.post("/api/breaches", executor, registration_id=DEVICE, reason="stolen").json
        http.post("/api/breaches", executor, confirm=shown["confirm_token"])
    else:
        http.post(f"/api/devices/{DEVICE}/disallow", executor, reason="odd")
    url = f"/api/rollovers/individual.{DEVICE}.1"
    before = http.get(url, executor).json["history"]
    assert http.post(f"{url}/{verb}", operator, reason="x").status == 403
    assert http.get(url, executor).json["history"] == before
    assert http.post(f"{url}/{verb}", executor, reason="x").status == 202
