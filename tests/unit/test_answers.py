"""What a service's refusal means to us, through each of the HTTP stacks that the SDKs bring.

azure-core raises HttpResponseError, msrest (azure-iot-hub) HttpOperationError, and a lost connection is yet another
type in each. The exceptions here are the SDKs' own.
"""

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceRequestError, ServiceResponseError
from msrest.exceptions import ClientRequestError, HttpOperationError, TokenExpiredError

from shared.clients.answers import answers_of
from shared.errors import Conflict, NotAllowed, NotFound, RolloverError, ServiceRefused, ServiceUnavailable

TOKEN = "Bearer eyJ0eXAi.c2VjcmV0.sig"


def of_azure_core(status: int, text: str, headers: dict[str, str]) -> Exception:
    """What DPS, Key Vault, Event Grid and Storage clients raise."""
    request = SimpleNamespace(headers={"Authorization": TOKEN})
    response = SimpleNamespace(status_code=status, reason="r", headers=headers, text=lambda: text, request=request)
    error = HttpResponseError(message=text, response=response)
    assert error.status_code == status
    return error


def of_msrest(status: int, text: str, headers: dict[str, str]) -> Exception:
    """What the IoT Hub client raises."""
    response = requests.Response()
    response.status_code, response._content = status, text.encode()
    response.headers.update(headers)
    response.request = requests.Request("GET", "https://hub.example", headers={"Authorization": TOKEN}).prepare()
    return HttpOperationError(lambda *_: None, response)


def met(error: Exception) -> RolloverError:
    with pytest.raises(RolloverError) as caught, answers_of("the service", "PUT thing"):
        raise error
    return caught.value


STACKS = pytest.mark.parametrize("stack", [of_azure_core, of_msrest])
MEANINGS = {
    400: ServiceRefused,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    405: ServiceRefused,
    408: ServiceUnavailable,
    409: Conflict,
    412: Conflict,
    429: ServiceUnavailable,
    500: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


@STACKS
@pytest.mark.parametrize(("status", "kind"), MEANINGS.items())
def test_a_status_means(stack, status, kind):
    error = met(stack(status, '{"message": "no"}', {}))
    assert type(error) is kind
    assert str(error).startswith(f"the service answered {status} to PUT thing: ")
    assert str(error).endswith("no")


BODIES = {
    "of DPS": ({"errorCode": 412001, "trackingId": "t", "message": "Precondition failed"}, "Precondition failed"),
    "of IoT Hub": (
        {"Message": "ErrorCode:ThrottlingException", "ExceptionMessage": "x"},
        "ErrorCode:ThrottlingException",
    ),
    "of Key Vault": ({"error": {"code": "Forbidden", "message": "no role"}}, "no role"),
    "that is a list": ([1, 2], "[1, 2]"),
    "that says nothing": ({}, "{}"),
}


@STACKS
@pytest.mark.parametrize(("body", "said"), BODIES.values(), ids=BODIES.keys())
def test_the_words_are_taken_from_a_body(stack, body, said):
    assert str(met(stack(400, json.dumps(body), {}))).endswith(f": {said}")


@STACKS
def test_a_page_of_a_proxy_is_quoted_in_one_short_line(stack):
    said = str(met(stack(502, "<html>\n" + "bad gateway \n" * 500, {})))
    assert "<html> bad gateway" in said
    assert "\n" not in said
    assert len(said) < 400


WAITS: dict[str, tuple[dict[str, str], timedelta | None]] = {
    "seconds": ({"Retry-After": "17"}, timedelta(seconds=17)),
    "nothing": ({}, None),
    "a date, which is not used by these services": ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
    "nonsense": ({"Retry-After": "-5"}, None),
}


@STACKS
@pytest.mark.parametrize(("headers", "wait"), WAITS.values(), ids=WAITS.keys())
def test_how_long_to_wait_is_taken_from_a_header_with(stack, headers, wait):
    error = met(stack(429, "{}", headers))
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after == wait


NO_ANSWER: dict[str, Exception] = {
    "a connection that azure-core could not make": ServiceRequestError("refused"),
    "an answer that azure-core did not get": ServiceResponseError("timed out"),
    "a connection that msrest could not make": ClientRequestError("refused"),
    "a token that msrest could not use": TokenExpiredError("expired"),
    "a connection that was cut": requests.ConnectionError("reset"),
    "a socket that failed": ConnectionResetError("reset"),
}


@pytest.mark.parametrize("error", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_no_answer_is(error):
    found = met(error)
    assert type(found) is ServiceUnavailable
    assert str(found) == f"the service gave no answer to PUT thing ({type(error).__name__})"


@STACKS
def test_the_sdks_own_exception_with_its_token_is_not_carried_along(stack):
    """A traceback in the log would show what hangs on it."""
    found = met(stack(403, "{}", {}))
    assert found.__cause__ is None
    assert found.__suppress_context__
    assert "c2VjcmV0" not in str(found)


def test_what_an_sdk_raises_for_something_that_exists_is_a_conflict():
    response: Any = SimpleNamespace(status_code=409, reason="Conflict", headers={}, text=lambda: "{}")
    assert type(met(ResourceExistsError(message="exists", response=response))) is Conflict


def test_our_own_exceptions_pass_through():
    with pytest.raises(ZeroDivisionError), answers_of("the service", "PUT thing"):
        raise ZeroDivisionError
