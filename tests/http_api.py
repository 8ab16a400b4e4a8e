"""The app's HTTP functions, called as the host calls them; every answer is held against docs/openapi.yaml."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest
import yaml
from jsonschema import Draft202012Validator

import function_app
from shared import api
from tests.fakes import World

DOCUMENT = Path(__file__).parents[1] / "docs" / "openapi.yaml"
JSON, PROBLEM = "application/json", "application/problem+json"


def invoke(function: Callable[..., Any], triggered_by: Any, trace_parent: str = "") -> Any:
    """Call a function as the worker does: with the invocation's context where it asks for that."""
    if "context" not in inspect.signature(function).parameters:
        return function(triggered_by)
    return function(triggered_by, SimpleNamespace(trace_context=SimpleNamespace(trace_parent=trace_parent)))


@cache  # an app can be indexed once
def app_functions() -> dict[str, tuple[list[dict[str, Any]], Callable[..., Any]]]:
    """Name → bindings and the function itself."""
    return {
        function.get_function_name(): (
            json.loads(function.get_function_json())["bindings"],
            function.get_user_function(),
        )
        for function in function_app.app.get_functions()
    }


def http_functions() -> dict[str, tuple[dict[str, Any], Callable[..., func.HttpResponse]]]:
    """Name → HTTP trigger and the function itself, of every function that HTTP calls."""
    found = {}
    for name, (bindings, function) in app_functions().items():
        for trigger in (binding for binding in bindings if binding["type"] == "httpTrigger"):
            found[name] = (trigger, function)
    return found


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return dict(yaml.safe_load(DOCUMENT.read_text()))


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Operation ID → method, path, and what the document says of it."""
    found = {}
    for path, item in document()["paths"].items():
        for method in item.keys() - {"parameters"}:
            found[item[method]["operationId"]] = (method.upper(), path, item[method])
    return found


@cache
def _validator(schema: str) -> Draft202012Validator:
    root = {**json.loads(schema), "components": document()["components"]}
    return Draft202012Validator(root, format_checker=Draft202012Validator.FORMAT_CHECKER)


def errors(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    found = _validator(json.dumps(schema)).iter_errors(value)
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:300]}" for one in found]


@dataclass(frozen=True)
class Answered:
    """An answer that is as the document says."""

    status: int
    json: dict[str, Any]
    headers: Mapping[str, str]


class HttpApi:
    """The HTTP API over a world in memory."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.trace_parent = ""
        monkeypatch.setattr(api, "services", lambda: world.services)

    def get(self, path: str, who: str | None = "oncall", **params: str) -> Answered:
        """GET as somebody."""
        return self.call("GET", path, who, params=params)

    def post(self, path: str, who: str | None = "oncall", **members: Any) -> Answered:
        """POST a JSON object as somebody."""
        return self.call("POST", path, who, json.dumps(members).encode())

    def call(
        self,
        method: str,
        path: str,
        who: str | None = "oncall",
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answered:
        """One request; ``who`` is a token of ``InMemoryCallers``, or a real one."""
        name, route_params = _route(method, path)
        sent = {**({"Authorization": f"Bearer {who}"} if who is not None else {}), **(headers or {})}
        url = f"https://app.example{path}"
        request = func.HttpRequest(method, url, headers=sent, params=params or {}, route_params=route_params, body=body)
        answer = invoke(http_functions()[name][1], request, self.trace_parent)
        _check_request(name, body, answer.status_code)
        return _checked(name, answer)


def _route(method: str, path: str) -> tuple[str, dict[str, str]]:
    for name, (trigger, _) in http_functions().items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", f"/api/{trigger['route']}")
        if method in trigger["methods"] and (found := re.fullmatch(pattern, path, re.DOTALL)):
            return name, found.groupdict()
    raise AssertionError(f"no function answers to {method} {path}")


def resolved(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the document, or what it refers to."""
    if "$ref" not in part:
        return part
    found: Any = document()
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def _check_request(name: str, body: bytes, status: int) -> None:
    """What the document calls wrong is refused. (What it calls right may be refused: it knows less than the code.)"""
    declared = operations()[name][2].get("requestBody")
    if declared and status < 300 and (body or declared.get("required")):
        wrong = errors(declared["content"][JSON]["schema"], json.loads(body or b"{}"))
        assert not wrong, f"{name} took a body that the document refuses: {wrong}"


def _checked(name: str, answer: func.HttpResponse) -> Answered:
    declared = operations()[name][2]["responses"]
    status = answer.status_code
    assert str(status) in declared, f"{name} answered {status}, of which the document knows nothing"
    response = resolved(declared[str(status)])
    body = json.loads(answer.get_body())
    assert answer.mimetype == (JSON if status < 400 else PROBLEM)
    wrong = errors(response["content"][answer.mimetype]["schema"], body)
    assert not wrong, f"{name} {status}: {wrong}"
    for header, schema in response.get("headers", {}).items():
        assert not errors(resolved(schema)["schema"], answer.headers[header])
    assert {one.lower() for one in dict(answer.headers)} <= {one.lower() for one in response.get("headers", {})}
    return Answered(status, body, answer.headers)
