"""Registering through DPS with azure-iot-device."""

from __future__ import annotations

import re
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from azure.iot.device import X509, ProvisioningDeviceClient, RegistrationResult, exceptions
from azure.iot.device.common.pipeline.pipeline_exceptions import PipelineNotRunning

from device.errors import Refused, Unreachable
from device.store import Assignment

_REFUSED = re.compile(r"status code 4(?!29)\d\d|invalid registration status|failed registration status")


class DpsRegistration:
    """The device side of one DPS instance.

    A fresh client for each attempt: it reads certificate and key once, when it is made. ``deadline_s`` bounds an
    attempt, because the client itself asks for ever while DPS answers 429 or 5xx.
    """

    def __init__(
        self, host: str, id_scope: str, registration_id: str, ca_pem: str | None, deadline_s: float = 60.0
    ) -> None:
        self._host = host
        self._id_scope = id_scope
        self._registration_id = registration_id
        self._ca_pem = ca_pem
        self._deadline_s = deadline_s

    def register(self, credential_file: Path) -> Assignment:
        """Register with the key and chain in this file and say where DPS sends the device.

        Raises:
            Refused: DPS knows no enabled entry for this certificate, or could not assign a hub.
            Unreachable: no answer, or not within the deadline.
        """
        pem = str(credential_file)
        client = ProvisioningDeviceClient.create_from_x509_certificate(
            provisioning_host=self._host,
            registration_id=self._registration_id,
            id_scope=self._id_scope,
            x509=X509(cert_file=pem, key_file=pem),
            server_verification_cert=self._ca_pem,
        )
        result: Future[RegistrationResult] = Future()

        def register() -> None:
            try:
                result.set_result(client.register())
            except Exception as error:  # noqa: BLE001 handed to the waiting thread
                result.set_exception(error)

        threading.Thread(target=register, name=f"dps-{self._registration_id}", daemon=True).start()
        try:
            state = result.result(self._deadline_s).registration_state
        except TimeoutError:
            raise Unreachable(f"DPS did not finish the registration within {self._deadline_s:g} s") from None
        except Exception as error:  # noqa: BLE001 sorted into the two kinds the agent knows
            raise sort_out(error) from None
        finally:
            # The client has no public way to end its connection after a registration that failed.
            # After one that succeeded it has ended by itself, and says so.
            with suppress(PipelineNotRunning):
                client._pipeline.shutdown(callback=lambda **_: None)
        return Assignment(hub=state.assigned_hub, device_id=state.device_id)


def sort_out(error: BaseException) -> Refused | Unreachable:
    """Tell a refusal of this certificate from anything that may pass by itself.

    azure-iot-device says it in three ways: CredentialError (CONNACK 4 or 5), an alert of the server within the TLS
    handshake (azure-iot-sdk-python#968, an expired certificate), and a ServiceError whose text alone holds the status.
    Text of ours only, and the SDK's, which holds no key.
    """
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    why = ": ".join(f"{type(one).__name__}({one})" for one in causes)
    for one in causes:
        if isinstance(one, exceptions.CredentialError):
            return Refused(why)
        if isinstance(one, exceptions.ServiceError) and _REFUSED.search(str(one)):
            return Refused(why)
        if isinstance(one, ssl.SSLError) and "ALERT" in (one.reason or ""):
            return Refused(why)
    return Unreachable(why)
