"""The private root and the one server certificate of a running stand-in, fresh at every start."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Authority:
    """What a TLS server and its clients need. The server's key never leaves memory."""

    ca: x509.Certificate
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def ca_pem(self) -> str:
        """The root as PEM text."""
        return self.ca.public_bytes(Encoding.PEM).decode()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `ca.pem` (the private root alone) and `ca-bundle.pem` (with the public roots); gives both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        alone, bundle = folder / "ca.pem", folder / "ca-bundle.pem"
        alone.write_text(self.ca_pem)
        bundle.write_text(self.ca_pem + Path(certifi.where()).read_text())
        return alone, bundle


def make_authority(addresses: list[str]) -> Authority:
    """A root, and a server certificate for `addresses` and localhost.

    Valid for twenty years from yesterday in *real* time: the clients' TLS libraries ask the system's clock, however
    far the stand-in's was moved. The extensions are those that OpenSSL's strict mode (Python 3.13's default) wants.
    """
    start = datetime.now(UTC) - timedelta(days=1)
    end = start + timedelta(days=20 * 365)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rollover local root")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rollover local services")])
    ca_ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        x509.CertificateBuilder(ca_name, ca_name, ca_key.public_key(), x509.random_serial_number(), start, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(ca_ski, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
    certificate = (
        x509.CertificateBuilder(ca_name, server_name, key.public_key(), x509.random_serial_number(), start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([*names, x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_ski), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return Authority(ca, certificate, key)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
