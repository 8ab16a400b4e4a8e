"""What a service's refusal means to us, whichever of the three HTTP stacks of the SDKs it came through.

azure-core raises HttpResponseError, msrest (azure-iot-hub) HttpOperationError, and a lost connection is yet
another type in each. Bodies are read for their message only; tokens are never in them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import requests
from azure.core.exceptions import AzureError, HttpResponseError
from msrest.exceptions import ClientException, HttpOperationError

from shared.errors import Conflict, NotAllowed, NotFound, RolloverError, ServiceRefused, ServiceUnavailable


@contextmanager
def answers_of(service: str, what: str) -> Iterator[None]:
    """Turn any failure of an SDK call into one of ours.

    Raises:
        NotFound: 404.
        Conflict: 409 or 412. DPS answers 409 to a PUT without If-Match and 412 to a stale one; the SDKs re-send a
            write whose answer was lost, so both can also follow an own write that was applied.
        ServiceUnavailable: 408, 429, 5xx, or no answer.
        NotAllowed: 401 or 403.
        ServiceRefused: everything else that the service said.
    """
    try:
        yield
    except HttpResponseError as error:
        response = error.response
        headers = getattr(response, "headers", None) or {}
        said = (error.error.message if error.error else None) or error.message or ""
        raise _translate(service, what, error.status_code, headers, said) from None
    except HttpOperationError as error:
        response = error.response
        text = getattr(response, "text", "") or ""
        raise _translate(service, what, response.status_code, response.headers, text) from None
    except (AzureError, ClientException, requests.RequestException, OSError) as error:
        raise ServiceUnavailable(f"{service} gave no answer to {what} ({type(error).__name__})") from None


def _translate(service: str, what: str, status: int | None, headers: Any, text: str) -> RolloverError:
    said = f"{service} answered {status} to {what}: {_message(text)}"
    match status:
        case 404:
            return NotFound(said)
        case 409 | 412:
            return Conflict(said)
        case 408 | 429 | None:
            return ServiceUnavailable(said, _retry_after(headers))
        case 401 | 403:
            return NotAllowed(said)
        case _ if status >= 500:
            return ServiceUnavailable(said, _retry_after(headers))
        case _:
            return ServiceRefused(said)


def _message(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:300]
    if not isinstance(body, dict):
        return text[:300]
    error = body.get("error")
    inner = error if isinstance(error, dict) else body
    found = inner.get("message") or inner.get("Message") or text
    return " ".join(str(found).split())[:300]


def _retry_after(headers: Any) -> timedelta | None:
    value = str(headers.get("Retry-After") or headers.get("retry-after") or "")
    return timedelta(seconds=int(value)) if value.isdigit() else None
