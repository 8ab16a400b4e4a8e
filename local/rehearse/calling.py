"""Calls the app's HTTP API with an access token, as a person's tool does."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from azure.identity import ManagedIdentityCredential

# The Functions host follows the stand-in's clock a moment late: until then a new token is one of the future to it.
CATCH_UP_S = 0.3
TIMEOUT_S = 30.0


class Api:
    """The API at `url` for the principal whose tokens `token` gives."""

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        self._url = url
        self._token = token

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request to e.g. "/api/rollovers"; one that is refused for its token (401) is made once more."""
        answer = self._once(method, path, options)
        if answer.status_code == 401:
            time.sleep(CATCH_UP_S)
            answer = self._once(method, path, options)
        return answer

    def _once(self, method: str, path: str, options: Mapping[str, Any]) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token()}"}
        return requests.request(method, self._url + path, headers=headers, timeout=TIMEOUT_S, **options)


def api_of(document: Mapping[str, Any], principal: str) -> Api:
    """The API of a running installation, as `principal`; a new token for each call, so that the clock may be moved."""

    def token() -> str:
        credential = ManagedIdentityCredential(client_id=principal)
        return str(credential.get_token(f"{document['entra']['audience']}/.default").token)

    return Api(document["functions"]["url"], token)
