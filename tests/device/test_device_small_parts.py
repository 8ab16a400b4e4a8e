"""Backoff, the method's answers, the configuration file, and how the SDK's errors are sorted."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import exceptions

from device.backoff import Backoff
from device.config import read_config
from device.errors import Refused, Unreachable
from device.method import Answer, answer, read_hint
from device.ports import Hint
from device.registration import sort_out
from device.sources import FolderSource, VaultSecretSource

A, B = "A" * 64, "B" * 64
STARTED, AGAIN = Answer(202, "started", begin=True), Answer(202, "started", begin=False)
CURRENT, NONE = Answer(200, "current", begin=False), Answer(409, "no-certificate", begin=False)


def test_the_ceiling_of_the_wait_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_s=1, cap_s=300, uniform=lambda low, high: high)
    assert [backoff.delay(n) for n in (1, 2, 3, 8, 9, 10, 5000)] == [1, 2, 4, 128, 256, 300, 300]


def test_the_wait_is_anything_from_nothing_to_the_ceiling() -> None:
    assert Backoff(uniform=lambda low, high: low).delay(5) == 0
    assert all(0 <= Backoff(base_s=2).delay(3) <= 8 for _ in range(50))


@pytest.mark.parametrize(
    "payload", [None, "", "text", 7, [], {}, {"sha256_thumbprint": 5}, {"sha256_thumbprint": "xyz"}]
)
def test_a_payload_that_says_nothing_is_an_empty_hint(payload: Any) -> None:
    assert read_hint(payload) == Hint()


def test_a_thumbprint_is_read_in_any_case_with_or_without_colons() -> None:
    colons = ":".join(["aa"] * 32)
    assert read_hint({"sha256_thumbprint": colons, "certificate_id": "id"}) == Hint(A, "id")


@pytest.mark.parametrize(
    ("hint", "waiting", "swapping", "found", "expected"),
    [
        (Hint(A), None, False, False, CURRENT),
        (Hint(A), None, True, False, CURRENT),
        (Hint(B), None, False, True, STARTED),
        (Hint(B), None, True, False, AGAIN),
        (Hint(B), B, False, False, STARTED),
        (Hint("C" * 64), B, False, False, NONE),
        (Hint(B), None, False, False, NONE),
        (Hint(), None, False, True, STARTED),
        (Hint(), B, False, False, STARTED),
        (Hint(), None, False, False, NONE),
    ],
)
def test_the_answer_follows_from_where_the_device_is(
    hint: Hint, waiting: str | None, swapping: bool, found: bool, expected: Answer
) -> None:
    assert answer(hint, current=A, waiting=waiting, swapping=swapping, found=found) == expected


def caused(error: Exception, *causes: Exception) -> Exception:
    for effect, cause in zip((error, *causes), causes, strict=False):
        effect.__cause__ = cause
    return error


def tls(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    "error",
    [
        exceptions.CredentialError("Credentials invalid, could not connect"),
        caused(
            exceptions.ClientError("Unexpected failure"),
            exceptions.ServiceError("register request returned a service error status code 401"),
        ),
        caused(
            exceptions.ClientError("Unexpected failure"),
            exceptions.ServiceError(
                "Query Status Operation encountered an invalid registration status disabled with a status code of 200"
            ),
        ),
        caused(
            exceptions.ClientError("Unexpected failure"),
            exceptions.ServiceError(
                "Query Status operation returned a failed registration status with a status code of 200"
            ),
        ),
        caused(
            exceptions.ConnectionFailedError("Could not connect to IoTHub"),
            exceptions.ConnectionFailedError(),
            tls("TLSV1_ALERT_UNKNOWN_CA"),
        ),
    ],
)
def test_a_no_of_the_service_is_refused(error: Exception) -> None:
    """Texts and classes as azure-iot-device 2.14.0 raises them; an alert: azure-iot-sdk-python#968."""
    assert isinstance(sort_out(error), Refused)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionFailedError("Could not connect to IoTHub"),
        exceptions.ConnectionDroppedError("Lost connection to IoTHub"),
        exceptions.OperationTimeout("Could not complete operation before timeout"),
        caused(
            exceptions.ClientError("Unexpected failure"),
            exceptions.ServiceError(
                "Operation timed out before provisioning service could respond for register operation"
            ),
        ),
        caused(
            exceptions.ClientError("Unexpected failure"),
            exceptions.ServiceError("register request returned a service error status code 429"),
        ),
        caused(
            exceptions.ClientError("Error in the IoTHub client due to TLS exchanges."),
            tls("CERTIFICATE_VERIFY_FAILED", ssl.SSLCertVerificationError),
        ),
        OSError("something else"),
    ],
)
def test_anything_that_may_pass_by_itself_is_unreachable(error: Exception) -> None:
    """A server certificate that the device does not trust says nothing about the device's own."""
    assert isinstance(sort_out(error), Unreachable)


def config_file(folder: Path, **changes: Any) -> Path:
    said = {
        "registration_id": "dev1",
        "id_scope": "0ne1",
        "provisioning_host": "global.azure-devices-provisioning.net",
        "store": "store",
        "source": {"folder": "incoming"},
    } | changes
    file = folder / "device.json"
    file.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return file


def test_a_configuration_is_read_relative_to_its_file(tmp_path: Path) -> None:
    config, store, source = read_config(config_file(tmp_path, ca_file="ca.pem", backoff={"cap_s": 9}))
    assert (config.ca_file, store, config.backoff.cap_s) == (tmp_path / "ca.pem", tmp_path / "store", 9)
    assert isinstance(source, FolderSource)


def test_a_configuration_may_name_a_vault(tmp_path: Path) -> None:
    _, _, source = read_config(config_file(tmp_path, source={"vault_url": "https://v", "secret_name": "dev1"}))
    assert isinstance(source, VaultSecretSource)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"store": None}, "'store' is missing"),
        ({"source": {}}, "'vault_url' is missing"),
        ({"id_scope": None}, "missing 1 required positional argument: 'id_scope'"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=r"device\.json: ") as wrong:
        read_config(config_file(tmp_path, **changes))
    assert complaint in str(wrong.value)
