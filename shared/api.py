"""What all HTTP functions share: who calls and may they, the body, and how to say no (problem+json, RFC 9457).

A function of HTTP is anonymous at the host and does nothing but ``respond``: nothing happens before the caller is
known and has a role for it (decision 7).
"""

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Protocol

from shared.callers import Caller, Role, require
from shared.errors import (
    BadInput,
    Closed,
    Conflict,
    Misconfigured,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RolloverError,
    ServiceRefused,
    ServiceUnavailable,
    Unsuitable,
)
from shared.events import LogEvent, log
from shared.services import Invocation, Services, services
from shared.tracing import within

LARGEST_BODY = 64 * 1024


class Request(Protocol):
    """An HTTP request, as far as it is looked at."""

    @property
    def method(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in any letters."""

    @property
    def params(self) -> Mapping[str, str]: ...

    @property
    def route_params(self) -> Mapping[str, str]: ...

    def get_body(self) -> bytes: ...


@dataclass(frozen=True)
class Asked:
    """What somebody who may asks for."""

    caller: Caller
    services: Services
    params: Mapping[str, str]
    route: Mapping[str, str]
    body: Mapping[str, Any]
    """The JSON object that came along; empty when none did."""


@dataclass(frozen=True)
class Answer:
    """What they get."""

    body: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


_TITLES: dict[type[RolloverError], tuple[int, str]] = {
    BadInput: (400, "The request cannot be understood"),
    NotAuthenticated: (401, "It cannot be told who calls"),
    NotPermitted: (403, "This takes another role"),
    NotFound: (404, "There is no such thing"),
    Conflict: (409, "Things are not as they were"),
    Misconfigured: (500, "The app is not configured"),
    ServiceRefused: (502, "A service refuses"),
    ServiceUnavailable: (503, "A service does not answer"),
    Unsuitable: (409, "This cannot be done as things are"),
    Closed: (503, "The API is closed"),
}


def respond(
    request: Request,
    allowed: frozenset[Role],
    handle: Callable[[Asked], Answer],
    invocation: Invocation | None = None,
) -> dict[str, Any]:
    """The parts of an ``HttpResponse``: what ``handle`` gives to a caller with one of the ``allowed`` roles, or a
    problem. Every refusal is logged with the caller, if known; nothing of the token or the query is ever shown."""
    caller = None
    try:
        ports = services()
        caller = ports.callers.identify(request.headers.get("Authorization"))
        require(caller, allowed)
        asked = Asked(caller, ports, request.params, request.route_params, _json_object(request.get_body()))
        with within(invocation.trace_context.trace_parent if invocation else ""):
            answer = handle(asked)
        return _parts(answer.status, answer.body, "application/json", answer.headers)
    except RolloverError as error:
        return _refusal(error, request, caller)
    except Exception as error:  # noqa: BLE001  whatever it is, it must not reach a stranger as it is
        return _surprise(error, request, caller)


def _json_object(body: bytes) -> Mapping[str, Any]:
    if len(body) > LARGEST_BODY:
        raise BadInput(f"the body is larger than {LARGEST_BODY // 1024} KiB")
    if not body.strip():
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput("the body is not JSON") from None
    if not isinstance(found, dict):
        raise BadInput("the body is not a JSON object")
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        raise BadInput("the body has half a character in it (a lone surrogate)") from None
    return found


def _refusal(error: RolloverError, request: Request, caller: Caller | None) -> dict[str, Any]:
    status, title = next((_TITLES[kind] for kind in type(error).__mro__ if kind in _TITLES), (500, "The app failed"))
    log(LogEvent.CALL_REFUSED, **_call(request, caller), status=status, why=str(error))
    detail = _detail(error, caller)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return _problem(status, title, detail, request, error.members, headers)


def _detail(error: RolloverError, caller: Caller | None) -> str:
    if isinstance(error, Misconfigured) and caller is None:
        return "its log names the settings"  # and their values, which are none of a stranger's business
    if isinstance(error, ServiceUnavailable):
        return f"{error}; try again in a minute"
    return str(error)


def _surprise(error: Exception, request: Request, caller: Caller | None) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None
    log(LogEvent.CALL_FAILED, **_call(request, caller), error=type(error).__name__, where=where)
    return _problem(500, "The app failed", "this is a defect of the app; its log says where", request)


def _call(request: Request, caller: Caller | None) -> dict[str, object]:
    return {"caller": caller and caller.who, "method": request.method, "url": _without_query(request.url)}


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _problem(
    status: int,
    title: str,
    detail: str,
    request: Request,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    body = {
        **(members or {}),
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": _without_query(request.url),
    }
    return _parts(status, body, "application/problem+json", headers or {})


def _parts(status: int, body: Mapping[str, Any], mimetype: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "body": json.dumps(body, indent=2),
        "status_code": status,
        "mimetype": mimetype,
        "headers": dict(headers),
    }
