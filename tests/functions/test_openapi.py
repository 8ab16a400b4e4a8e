"""docs/openapi.yaml against the code, in both directions. That every answer is as it says: tests/http_api.py."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from openapi_spec_validator import validate

from shared import expiring
from shared.callers import NobodyMayCall, Role
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.horizon import Fate
from shared.incident import Mode
from shared.plans import Plan, Step
from shared.survey import Source
from shared.views import FILTERS, STATUSES
from tests.builders import DEVICE, a_story, deliver_all, the_rollover
from tests.fakes import World
from tests.http_api import Answered, HttpApi, document, errors, http_functions, operations, resolved

OPERATIONS = operations()


def test_the_document_is_openapi():
    validate(document())


def test_paths_and_methods_are_those_of_the_app():
    of_the_app = {
        (name, method, f"/api/{trigger['route']}")
        for name, (trigger, _) in http_functions().items()
        for method in trigger["methods"]
    }
    assert {(name, method, path) for name, (method, path, _) in OPERATIONS.items()} == of_the_app


@pytest.mark.parametrize("name", OPERATIONS)
def test_roles_are_those_that_the_function_allows(name):
    """That a function lets in nobody else, and all of these: test_authorization.py."""
    said = OPERATIONS[name][2]["x-roles"]
    assert set(said) == set(importlib.import_module(f"functions.{name}").ALLOWED)


def test_words_are_those_of_the_code():
    schemas = document()["components"]["schemas"]
    words: dict[str, Any] = {"Mode": Mode, "Plan": Plan, "Step": Step, "Status": STATUSES}
    assert {name: set(schemas[name]["enum"]) for name in words} == {name: set(found) for name, found in words.items()}
    assert set(schemas["Roles"]["properties"]["roles"]["items"]["enum"]) == set(Role)
    assert set(schemas["Source"]["enum"]) == set(Source)
    assert set(schemas["Fate"]["enum"]) == set(Fate)
    for name, filters in (("rollovers", FILTERS), ("certificates", expiring.FILTERS)):
        assert {resolved(one)["name"] for one in OPERATIONS[name][2]["parameters"]} == set(filters)


# --- every answer that the document promises can be had ---------------------------------------------------------

BREACH, FIRST = "/api/breaches", f"individual.{DEVICE}.1"


@pytest.fixture
def world() -> World:
    return a_story()


@pytest.fixture
def http(world: World, monkeypatch: pytest.MonkeyPatch) -> HttpApi:
    return HttpApi(world, monkeypatch)


def _preview(http: HttpApi) -> Answered:
    return http.post(BREACH, registration_id=DEVICE, reason="stolen")


def _breach(http: HttpApi) -> Answered:
    return http.post(BREACH, confirm=_preview(http).json["confirm_token"])


def _needs_approval(http: HttpApi) -> Answered:
    http.world.settings = replace(http.world.settings, breach_fuse=0)
    return _breach(http)


def _cancelled(http: HttpApi) -> Answered:
    _breach(http)
    return http.post(f"/api/rollovers/{FIRST}/cancel", reason="false alarm")


def _disallowed(http: HttpApi) -> Answered:
    answer = http.post(f"/api/devices/{DEVICE}/disallow", reason="odd traffic")
    deliver_all(http.world)
    assert the_rollover(http.world).status == "done"
    return answer


def _changed(http: HttpApi) -> Answered:
    token = _preview(http).json["confirm_token"]
    http.world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))
    return http.post(BREACH, confirm=token)


def _closed(http: HttpApi) -> None:
    http.world.callers = NobodyMayCall()


BEFORE: dict[tuple[str, int], Callable[[HttpApi], Answered | None]] = {
    ("rollover", 200): _breach,
    ("certificates", 503): _closed,
    ("approve", 202): _needs_approval,
    ("approve", 409): _breach,
    ("cancel", 202): _breach,
    ("cancel", 409): _disallowed,
    ("retry", 202): _cancelled,
    ("retry", 409): _disallowed,
    ("disallow", 409): _breach,
    ("allow", 409): _breach,
    ("stragglers", 200): _breach,
}
"""What comes before, where a call alone does not give the answer."""


def _called(
    name: str, http: HttpApi, who: str | None = "oncall-2", target: str | None = None, **members: Any
) -> Answered:
    method, path, _ = OPERATIONS[name]
    body: dict[str, Any] = {"reason": "stolen"} if method == "POST" else {}
    if name == "breach":
        body["registration_id"] = target or DEVICE
    body |= members
    known = DEVICE if "/devices/" in path else FIRST
    return http.call(method, path.replace("{id}", target or known), who, json.dumps(body).encode())


def _with_failing_services(error: Exception) -> Callable[[str, HttpApi], Answered]:
    def call(name: str, http: HttpApi) -> Answered:
        def fails(*_: Any, **__: Any) -> None:
            raise error

        for service, method in ((http.world.table, "read"), (http.world.table, "scan"), (http.world.dps, "enrollment")):
            setattr(service, method, fails)
        return _called(name, http)

    return call


ANSWERS: dict[int, Callable[[str, HttpApi], Answered]] = {
    200: lambda name, http: _called(name, http, **({"preview": True} if name == "disallow" else {})),
    202: lambda name, http: _breach(http) if name == "breach" else _called(name, http),
    400: lambda name, http: http.call(OPERATIONS[name][0], OPERATIONS[name][1], "oncall", b"[]"),
    401: lambda name, http: _called(name, http, None),
    403: lambda name, http: _called(name, http, "stranger"),
    404: lambda name, http: _called(name, http, target="individual.nobody.1"),
    409: lambda name, http: _changed(http) if name == "breach" else _called(name, http),
    500: _with_failing_services(KeyError("surprise")),
    502: _with_failing_services(ServiceRefused("table answered 400")),
    503: _with_failing_services(ServiceUnavailable("table gave no answer")),
}


@pytest.mark.parametrize(
    ("name", "status"), [(name, int(status)) for name in OPERATIONS for status in OPERATIONS[name][2]["responses"]]
)
def test_what_the_document_promises_can_be_had(name, status, http):
    if before := BEFORE.get((name, status)):
        before(http)
    assert ANSWERS[status](name, http).status == status


BAD_CALLS = {
    "no reason": {"registration_id": DEVICE},
    "no selector": {"reason": "x"},
    "two selectors": {"registration_id": DEVICE, "device_id": DEVICE, "reason": "x"},
    "a mode that there is not": {"registration_id": DEVICE, "reason": "x", "mode": "delete"},
    "no slot": {"registration_id": DEVICE, "reason": "x", "compromised": []},
    "a slot that there is not": {"registration_id": DEVICE, "reason": "x", "compromised": ["tertiary"]},
    "a selector with a slip in it": {"registrationid": DEVICE, "reason": "x"},
    "a member that goes with a confirmation": {"registration_id": DEVICE, "reason": "x", "break_glass": "alone"},
    "a token that is null": {"registration_id": DEVICE, "reason": "x", "confirm": None},
    "half a character": {"registration_id": DEVICE, "reason": "\ud800"},
}


@pytest.mark.parametrize("body", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_a_breach_call_is_refused_by_document_and_code_alike_with(body, http):
    schema = OPERATIONS["breach"][2]["requestBody"]["content"]["application/json"]["schema"]
    assert errors(schema, body) or body["reason"] == "\ud800"  # that one is no text, of which JSON Schema knows nothing
    assert http.post(BREACH, **body).status == 400
