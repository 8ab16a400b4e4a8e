"""What all HTTP functions share: callers, bodies, and how they say no (problem+json, RFC 9457)."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import azure.functions as func
import pytest

from shared import api
from shared.api import LARGEST_BODY, Answer, Asked, respond
from shared.callers import READERS, NobodyMayCall, Role
from shared.errors import (
    BadInput,
    Conflict,
    Misconfigured,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RolloverError,
    ServiceRefused,
    ServiceUnavailable,
)
from tests.fakes import World, a_world

URL = "https://app.example/api/breaches?code=s3cret&status=x"
EXECUTE = frozenset({Role.BREACH_EXECUTE})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The services of the app are those of a world in memory."""
    made = a_world()
    monkeypatch.setattr(api, "services", lambda: made.services)
    return made


def request(who: str | None = "oncall", body: bytes = b"", **params: str) -> func.HttpRequest:
    headers = {} if who is None else {"Authorization": f"Bearer {who}"}
    return func.HttpRequest("POST", URL, headers=headers, params=params, route_params={"id": "dev-01"}, body=body)


@dataclass
class Handler:
    """Notes what it was asked."""

    error: Exception | None = None
    asked: list[Asked] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.error:
            raise self.error
        return Answer({"a": 1})


def problem(found: Mapping[str, Any]) -> dict[str, Any]:
    assert found["mimetype"] == "application/problem+json"
    body: dict[str, Any] = json.loads(found["body"])
    assert body["status"] == found["status_code"]
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    return body


# --- who may ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("world")
def test_who_has_the_role_is_answered():
    found = respond(request(), EXECUTE, Handler())
    assert (found["status_code"], found["mimetype"], json.loads(found["body"])) == (200, "application/json", {"a": 1})


def test_the_handler_learns_who_asks_for_what(world: World):
    handler = Handler()
    respond(request(body=b'{"reason": "stolen"}', status="x"), EXECUTE, handler)
    [asked] = handler.asked
    assert asked.caller == world.callers.known["oncall"]
    assert (asked.params, asked.route, asked.body) == ({"status": "x"}, {"id": "dev-01"}, {"reason": "stolen"})
    assert asked.services.provisioning is world.dps


@pytest.mark.usefixtures("world")
def test_status_and_headers_of_an_answer_are_sent():
    found = respond(request(), EXECUTE, lambda _: Answer({}, 202, {"Location": "/api/rollovers/x"}))
    response = func.HttpResponse(**found)
    assert (response.status_code, response.headers["Location"]) == (202, "/api/rollovers/x")


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("token", [None, "", "nobody"])
def test_who_cannot_be_told_is_asked_for_a_token_and_nothing_is_done(token):
    handler = Handler()
    found = respond(request(token, b"junk"), EXECUTE, handler)
    assert problem(found)["status"] == 401
    assert found["headers"] == {"WWW-Authenticate": "Bearer"}
    assert handler.asked == []


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("token", ["operator", "auditor", "stranger"])
def test_who_lacks_the_role_is_told_which_and_nothing_is_done(token):
    handler = Handler()
    found = problem(respond(request(token, b"junk"), EXECUTE, handler))
    assert (found["status"], found["roles"]) == (403, ["Breach.Execute"])
    assert "Breach.Execute" in found["detail"]
    assert handler.asked == []


def test_a_closed_api_names_its_settings_to_everybody(world: World):
    world.callers = NobodyMayCall()
    for token in (None, "oncall"):
        found = problem(respond(request(token), EXECUTE, Handler()))
        assert found["status"] == 503
        assert "ENTRA_ISSUER and ENTRA_AUDIENCE" in found["detail"]


def test_an_app_without_settings_tells_strangers_nothing_of_them(monkeypatch, caplog):
    def broken() -> None:
        raise Misconfigured("DPS_ENDPOINT must be a URL, not 'dps.internal'")

    monkeypatch.setattr(api, "services", broken)
    found = problem(respond(request(None), EXECUTE, Handler()))
    assert found["status"] == 500
    assert "DPS_ENDPOINT" not in json.dumps(found)
    assert "DPS_ENDPOINT" in caplog.text


def test_when_nobody_can_be_told_for_lack_of_keys_nobody_passes(world: World, monkeypatch):
    def down(_: str | None) -> None:
        raise ServiceUnavailable("Entra gave no answer")

    monkeypatch.setattr(world.callers, "identify", down)
    handler = Handler()
    assert problem(respond(request(), EXECUTE, handler))["status"] == 503
    assert handler.asked == []


# --- bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("body", [b"", b"  \n", b"{}"])
def test_no_body_is_an_empty_one(body):
    handler = Handler()
    respond(request(body=body), EXECUTE, handler)
    assert handler.asked[0].body == {}


BODIES = {
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "half an object": b'{"reason": ',
    "a form": b"reason=stolen",
    "bytes that are no text": b"\xff\xfe{",
    "endless nesting": b"[" * 60_000,
    "endless nesting within an object": b'{"a":' * 10_000,
    "more than anybody has to say": b'{"reason": "' + b"x" * LARGEST_BODY + b'"}',
}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_is_refused_that_is(body):
    handler = Handler()
    assert problem(respond(request(body=body), EXECUTE, handler))["status"] == 400
    assert handler.asked == []


# --- problems ---------------------------------------------------------------------------------------------------

PROBLEMS: dict[str, tuple[RolloverError, int]] = {
    "wrong input": (BadInput("there is no filter 'x'"), 400),
    "a caller who cannot be told": (NotAuthenticated("the token is out of date"), 401),
    "an unknown rollover": (NotFound("there is no rollover 'y'"), 404),
    "a changed world": (Conflict("the enrollment was changed"), 409),
    "missing settings": (Misconfigured("DPS_ENDPOINT is missing"), 500),
    "a kind that nobody thought of": (RolloverError("something"), 500),
    "a service that refuses": (ServiceRefused("table answered 400"), 502),
    "a service that does not let us in": (NotAllowed("table answered 403"), 502),
    "a service that does not answer": (ServiceUnavailable("table gave no answer"), 503),
}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("error", "status"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_problem_is_described_for(error, status):
    found = problem(respond(request(), EXECUTE, Handler(error)))
    assert found["status"] == status
    assert str(error) in found["detail"]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("error", "status"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_the_query_of_the_address_is_never_shown_for(error, status, caplog):
    found = respond(request(), EXECUTE, Handler(error))
    assert "s3cret" not in found["body"] + caplog.text
    assert problem(found)["instance"] == "https://app.example/api/breaches"


@pytest.mark.usefixtures("world")
def test_an_error_may_say_more_but_not_something_else():
    error = Conflict("the world is another one")
    error.members = {"difference": [{"what": "slot"}], "status": 200}
    found = problem(respond(request(), EXECUTE, Handler(error)))
    assert (found["difference"], found["status"]) == ([{"what": "slot"}], 409)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("error", [ValueError("Bearer s3cret"), KeyError("s3cret"), ZeroDivisionError("s3cret")])
def test_a_surprise_is_logged_by_its_type_and_never_told(error, caplog):
    found = respond(request(), EXECUTE, Handler(error))
    assert problem(found)["status"] == 500
    assert "s3cret" not in found["body"] + caplog.text
    assert 'call_failed caller="oncall (id-of-oncall)" method=POST url=https://app.example/api/breaches' in caplog.text
    assert f"error={type(error).__name__}" in caplog.text
    assert "where=test_api.py:" in caplog.text


@pytest.mark.usefixtures("world")
def test_an_answer_that_is_no_json_is_a_surprise_too():
    assert problem(respond(request(), EXECUTE, lambda _: Answer({"a": object()})))["status"] == 500


REFUSED = {
    "a stranger": (None, "call_refused method=POST url=https://app.example/api/breaches status=401"),
    "somebody without the role": ("auditor", 'call_refused caller="auditor (id-of-auditor)" method=POST'),
}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("token", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_is_logged_for(token, line, caplog):
    respond(request(token), EXECUTE, Handler())
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert line in caplog.text


@pytest.mark.usefixtures("world")
def test_no_refusal_logs_the_token(caplog):
    respond(request("t0ken"), EXECUTE, Handler())
    assert "t0ken" not in caplog.text
    assert "call_refused" in caplog.text


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("token", ["oncall", "operator", "auditor"])
def test_whoever_has_any_role_may_look(token):
    assert respond(request(token), READERS, Handler())["status_code"] == 200
