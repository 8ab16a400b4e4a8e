"""The peer: the least that rolls one enrollment with the SDKs. No ledger, no history, no checks, no way back."""

import time
import uuid
from typing import Any

from azure.identity import ManagedIdentityCredential
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, JobRequest
from azure.keyvault.certificates import CertificateClient

from bench.fleet import pem_of, sha256_of


class Script:
    """A few lines of SDK calls, as somebody would write them in an afternoon."""

    def __init__(self, document: dict[str, Any]) -> None:
        credential = ManagedIdentityCredential()
        self.vault = CertificateClient(document["keyvault"]["url"], credential, verify_challenge_resource=False)
        self.dps = DeviceProvisioningClient(document["dps"]["service_url"], credential)
        hub = document["iothub"]["service_url"].removeprefix("https://")
        self.hub = IoTHubRegistryManager.from_token_credential(hub, credential)
        self.jobs = IoTHubJobManager.from_token_credential(hub, credential)

    def roll(self, name: str) -> None:
        """New version, second slot, hub thumbprint, job, wait, first slot cleared."""
        old = self.vault.get_certificate(name)
        poller = self.vault.begin_create_certificate(name, old.policy, tags=old.properties.tags, _polling_interval=0.1)
        new = poller.result()
        enrollment = self.dps.enrollment.get(name)
        slots = enrollment["attestation"]["x509"]["clientCertificates"]
        slots["secondary"] = {"certificate": pem_of(new.cer)}
        self.dps.enrollment.create_or_update(name, enrollment, if_match=enrollment["etag"])
        device = self.hub.get_device(name)
        self.hub.update_device_with_x509(name, device.etag, sha256_of(old.cer), sha256_of(new.cer), "enabled")
        job = uuid.uuid4().hex
        method = CloudToDeviceMethod(method_name="reprovision", payload={})
        condition = f"deviceId IN ['{name}']"
        request = JobRequest(
            job_id=job, type="scheduleDeviceMethod", cloud_to_device_method=method, query_condition=condition
        )
        self.jobs.create_scheduled_job(job, request)
        while self.hub.get_device(name).authentication.x509_thumbprint.primary_thumbprint != sha256_of(new.cer):
            time.sleep(0.5)
        enrollment = self.dps.enrollment.get(name)
        enrollment["attestation"]["x509"]["clientCertificates"]["primary"] = None
        self.dps.enrollment.create_or_update(name, enrollment, if_match=enrollment["etag"])
