"""A device whose certificates a CA in the vault issues: the app signs and merges, whatever replies are lost."""

from pathlib import Path

from azure.core.rest import HttpRequest
from azure.keyvault.certificates import CertificatePolicy
from cryptography import x509

from tests.rehearsal.plant import Plant, until

NAME, CA = "own-ca-meter", "own-ca"
CA_POLICY = {
    "issuer": {"name": "Self"},
    "key_props": {"kty": "RSA", "key_size": 2048, "exportable": False},
    "x509_props": {
        "subject": "CN=Fleet CA",
        "validity_months": 120,
        "key_usage": ["keyCertSign", "cRLSign"],
        "basic_constraints": {"ca": True},
    },
}


def test_a_device_is_rolled_to_what_its_own_ca_issues(plant: Plant, tmp_path: Path) -> None:
    request = HttpRequest("POST", f"/certificates/{CA}/create", json={"policy": CA_POLICY})
    plant.vault.send_request(request).raise_for_status()
    until(lambda: plant.vault.get_certificate(CA).cer, "the CA is there")
    device = plant.install(NAME, tmp_path)
    plant.vault.update_certificate_policy(NAME, CertificatePolicy("Unknown", subject=f"CN={NAME}"))
    tags = {"rollover-enrollment": NAME, "rollover-ca": CA}
    plant.vault.update_certificate_properties(NAME, tags=tags)
    for operation in ("SignWithVersion", "MergeCertificate"):
        plant.standin.control.post("/faults", {"kind": "lost_reply", "operation": operation, "times": 1})
    host = plant.host()
    try:
        plant.move_clock(days=336)
        device.live()
        until(lambda: host.deliver(plant.event(NAME)), "the event is taken")
        until(lambda: _at(host.rollovers(NAME)) == "delete_primary", "the device moved", host.tail)
        current = plant.vault.get_certificate(NAME)
        made = x509.load_der_x509_certificate(bytes(current.cer or b""))
        made.verify_directly_issued_by(
            x509.load_der_x509_certificate(bytes(plant.vault.get_certificate(CA).cer or b""))
        )
        assert plant.end_state(NAME)["versions"] == 2, "one leaf came of it"
        assert current.properties.tags == tags
    finally:
        device.stop()
        host.stop()


def _at(rollovers: list[dict[str, object]]) -> object:
    return rollovers[0]["next_step"] if rollovers else None
