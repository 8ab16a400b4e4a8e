"""How every scenario begins: certificates in the vault, enrollments in DPS, devices connected."""

from collections.abc import Mapping

from azure.keyvault.certificates import CertificateContentType

from local.rehearse.fleet import PIPELINE
from local.rehearse.operator import VaultCertificate
from local.rehearse.scenario import Stage


def set_up(stage: Stage) -> dict[str, VaultCertificate]:
    """Give every device of the fleet what it needs and switch it on; gives the certificates."""
    pem, pfx = CertificateContentType.pem, CertificateContentType.pkcs12
    types = {one.registration_id: pem if one.fed_by == PIPELINE else pfx for one in stage.fleet.members}
    certificates = stage.operator.create_certificates(types)
    for name, certificate in certificates.items():
        stage.operator.enroll(name, certificate)
    stage.found.newest = thumbprints(certificates)
    stage.fleet.start()
    stage.wait_for("set-up: devices connected", lambda: on(stage, stage.found.newest))
    for name, certificate in certificates.items():
        stage.found.slots[name] = [slot(stage, name, certificate.sha256)]
    return certificates


def thumbprints(certificates: Mapping[str, VaultCertificate]) -> dict[str, str]:
    """SHA-256 of each."""
    return {name: certificate.sha256 for name, certificate in certificates.items()}


def on(stage: Stage, wanted: Mapping[str, str]) -> set[str]:
    """Whose session with the hub was made with this certificate, by the journal."""
    stage.read_journal()
    return {one.registration_id for one in stage.facts() if one.thumbprints[-1:] == (wanted[one.registration_id],)}


def slot(stage: Stage, name: str, sha256: str) -> str:
    """The slot of a certificate; the first one where DPS shows it in both."""
    return next((one for one, held in stage.operator.slots(name).items() if held == sha256), "none")
