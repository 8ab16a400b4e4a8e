"""Shared access signatures, in the spellings that clients use."""

import base64
from datetime import timedelta
from urllib.parse import quote, unquote

import pytest

from local.azure.clock import Clock
from local.azure.sas import BadSignature, sign, verify
from tests.contract.reasons import OURS

pytestmark = OURS

KEY = base64.b64encode(b"k" * 32).decode()
POLICIES = {"owner": KEY}
HOST = "127.0.0.3"


def expiry(clock: Clock, seconds: int = 3600) -> int:
    return int(clock.now().timestamp()) + seconds


@pytest.mark.parametrize(
    "resource",
    [HOST, quote(f"{HOST}:8443", safe=""), quote(f"https://{HOST}:8443", safe=""), quote(f"{HOST}/devices/a", safe="")],
)
def test_the_resource_may_be_spelled_in_any_way(resource: str) -> None:
    """azure-iot-hub signs host%3Aport, azure-iot-deviceprovisioning the endpoint as given."""
    clock = Clock()
    assert verify(sign(resource, "owner", KEY, expiry(clock)), POLICIES, host=HOST, clock=clock) == "owner"


def test_fields_may_come_in_any_order_and_unquoted() -> None:
    clock = Clock()
    token = sign(HOST, "owner", KEY, expiry(clock))
    fields = token.removeprefix("SharedAccessSignature ").split("&")
    turned = "SharedAccessSignature " + unquote("&".join(reversed(fields)))
    assert verify(turned, POLICIES, host=HOST, clock=clock) == "owner"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("Bearer abc", "not a shared access signature"),
        ("SharedAccessSignature sr=a", "lacks"),
        (sign(HOST, "nobody", KEY, 4102444800), "no policy"),
        (sign("other", "owner", KEY, 4102444800), "another resource"),
        (sign(HOST, "owner", base64.b64encode(b"wrong").decode(), 4102444800), "does not match"),
        (sign(HOST, "owner", KEY, 1), "out of date"),
    ],
)
def test_a_token_that_does_not_hold_is_refused(token: str, why: str) -> None:
    with pytest.raises(BadSignature, match=why):
        verify(token, POLICIES, host=HOST, clock=Clock())


def test_a_client_that_does_not_know_of_a_moved_clock_is_not_refused() -> None:
    clock = Clock()
    token = sign(HOST, "owner", KEY, expiry(clock))
    clock.advance(timedelta(days=60))
    assert verify(token, POLICIES, host=HOST, clock=clock) == "owner"


def test_a_client_that_follows_the_clock_is_not_refused() -> None:
    clock = Clock()
    clock.advance(timedelta(days=-60))
    token = sign(HOST, "owner", KEY, expiry(clock))
    assert verify(token, POLICIES, host=HOST, clock=clock) == "owner"
