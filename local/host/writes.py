"""Counts what the app writes to the outside, and can end the process, or lose the answer, after a chosen write.

So that "killed after every write" and "every answer lost once" can be proven from outside, on real parts. The app's
SDKs all send through ``requests``; the host's own queue handling does not, so nothing of it is counted.
"""

import http.client
import logging
import os
import threading
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

log = logging.getLogger("host")
MUTATING = ("PUT", "POST", "PATCH", "DELETE", "MERGE")
KILLED = 137


class Writes:
    """The app's writes so far: method and URL without query, in order of completion."""

    def __init__(self, die_after: int | None, lose_reply_of: int | None) -> None:
        self.made: list[str] = []
        self._die_after = die_after
        self._lose_reply_of = lose_reply_of
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Put this between ``requests`` and the network."""
        send = HTTPAdapter.send

        def watched(adapter: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **kw: Any) -> Any:
            response = send(adapter, request, *args, **kw)
            if _is_write(request, response):
                self._note(request, response)
            return response

        HTTPAdapter.send = watched  # type: ignore[method-assign,assignment]

    def _note(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        with self._lock:
            self.made.append(f"{request.method} {(request.url or '').partition('?')[0]}")
            number = len(self.made)
            if number == self._die_after:
                log.warning("write %d (%s) was made; the process is killed as asked", number, self.made[-1])
                logging.shutdown()
                os._exit(KILLED)
        if number == self._lose_reply_of:
            log.warning("write %d (%s) was made; its answer is lost as asked", number, self.made[-1])
            response.close()
            raise requests.exceptions.ConnectionError(_cut_off(), request=request)


def _cut_off() -> ProtocolError:
    # What requests wraps when a server closes without an answer. By it azure-core tells "sent, outcome unknown"
    # (ServiceResponseError) from "never sent" (ServiceRequestError).
    cause = http.client.RemoteDisconnected("Remote end closed connection without response")
    return ProtocolError("Connection aborted.", cause)


def _is_write(request: requests.PreparedRequest, response: requests.Response) -> bool:
    """Whether the service changed something: reads by POST and refused requests are none."""
    path = urlsplit(request.url or "").path.rstrip("/")
    return request.method in MUTATING and response.status_code < 400 and not path.endswith(("/query", "/token"))
