"""Keys, signing requests and self-signed certificates, as a policy asks for them. Pure but for randomness."""

import base64
import ipaddress
import secrets
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ObjectIdentifier

from local.azure.keyvault.policy import Policy, subject_name
from local.azure.keyvault.refusals import BadParameter
from local.azure.x509 import net_name

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
BACKDATED = timedelta(minutes=10)  # recorded: nbf is ten minutes before created
PKCS12, PEM = "application/x-pkcs12", "application/x-pem-file"
_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
    "P-256K": ec.SECP256K1,
}
_USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}


def make_key(policy: Policy) -> Key:
    """A new private key; 50 ms and more for RSA, so call it in a thread."""
    props = policy["key_props"]
    if props["kty"].startswith("EC"):
        return ec.generate_private_key(_CURVES[props["crv"]]())
    return rsa.generate_private_key(public_exponent=65537, key_size=props["key_size"])


def signing_request(policy: Policy, key: Key) -> bytes:
    """The PKCS#10 request, DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject_name(policy["x509_props"]["subject"]))
    for extension, critical in _extensions(policy):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def self_signed(policy: Policy, key: Key, now: datetime) -> bytes:
    """The certificate that the vault signs itself, DER: from ten minutes ago for the policy's months."""
    props = policy["x509_props"]
    now = now.replace(microsecond=0)
    name, ski = subject_name(props["subject"]), x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateBuilder(
        name,
        name,
        key.public_key(),
        int.from_bytes(secrets.token_bytes(16)) >> 1,
        now - BACKDATED,
        months_later(now, props["validity_months"]),
    )
    for extension, critical in _extensions(policy):
        builder = builder.add_extension(extension, critical=critical)
    aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
    builder = builder.add_extension(aki, critical=False).add_extension(ski, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def months_later(when: datetime, months: int) -> datetime:
    """The same day of a later month, or that month's last day."""
    years, month = divmod(when.month - 1 + months, 12)
    for day in range(when.day, 27, -1):
        try:
            return when.replace(year=when.year + years, month=month + 1, day=day)
        except ValueError:  # no such day in that month
            continue
    return when.replace(year=when.year + years, month=month + 1)


def _extensions(policy: Policy) -> list[tuple[x509.ExtensionType, bool]]:
    props = policy["x509_props"]
    found: list[tuple[x509.ExtensionType, bool]] = []
    if usages := props["key_usage"]:
        flags: dict[str, Any] = dict.fromkeys(_USAGES.values(), False)
        for usage in usages:
            if usage not in _USAGES:
                raise BadParameter(f"Property policy.x509_props.key_usage has invalid value: {usage}.")
            flags[_USAGES[usage]] = True
        found.append((x509.KeyUsage(**flags), True))
    found.append((x509.BasicConstraints(ca=bool(props["basic_constraints"].get("ca")), path_length=None), False))
    if props["ekus"]:
        found.append((x509.ExtendedKeyUsage([ObjectIdentifier(one) for one in props["ekus"]]), False))
    if names := _alternative_names(props["sans"]):
        found.append((x509.SubjectAlternativeName(names), False))
    return found


def _alternative_names(sans: dict[str, Any]) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(one) for one in sans.get("dns_names") or []),
        *(x509.RFC822Name(one) for one in sans.get("emails") or []),
        *(x509.IPAddress(ipaddress.ip_address(one)) for one in sans.get("ip_addresses") or []),
        *(x509.UniformResourceIdentifier(one) for one in sans.get("uris") or []),
    ]


def same_key(certificate: bytes, other: bytes) -> bool:
    """Whether two certificates (DER) hold the same public key."""
    return public_key_of(certificate) == public_key_of(other)


def public_key_of(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, DER."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_bytes_of(key: Key) -> bytes:
    """The SubjectPublicKeyInfo of a private key, DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def export(der: bytes, chain: list[bytes], key: Key | None, content_type: str) -> str:
    """The value of the secret behind a certificate: PFX in base64, or PEM text; without `key` the public part."""
    certificates = [x509.load_der_x509_certificate(one) for one in (der, *chain)]
    if content_type == PEM:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() if key else ""
        return private + "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)
    pfx = pkcs12.serialize_key_and_certificates(
        None, key, certificates[0] if key else None, certificates[1:] if key else certificates, NoEncryption()
    )
    return base64.b64encode(pfx).decode()


def import_policy(der: bytes, key: Key, content_type: str) -> Policy:
    """What a policy must say about a certificate that was made elsewhere."""
    subject = x509.load_der_x509_certificate(der).subject
    curve = {"kty": "EC", "crv": _curve_name(key)} if isinstance(key, ec.EllipticCurvePrivateKey) else {}
    return {
        "issuer": {"name": "Unknown"},
        "x509_props": {"subject": net_name(subject) or "CN=unnamed"},
        "key_props": curve or {"kty": "RSA", "key_size": key.key_size},
        "secret_props": {"contentType": content_type},
    }


def _curve_name(key: ec.EllipticCurvePrivateKey) -> str:
    for name, curve in _CURVES.items():
        if isinstance(key.curve, curve):
            return name
    raise BadParameter("The key's curve is not supported.")


def load(value: str, password: str | None) -> tuple[list[bytes], Key, str]:
    """Certificates (DER, leaf first), key and content type of an import; BadParameter when it has not both."""
    try:
        if "-----BEGIN" in value:
            key = load_pem_private_key(value.encode(), password.encode() if password else None)
            found = x509.load_pem_x509_certificates(value.encode())
            kind = PEM
        else:
            pfx = pkcs12.load_pkcs12(base64.b64decode(value), password.encode() if password else None)
            if pfx.key is None or pfx.cert is None:
                raise BadParameter("Private key is not specified in the specified X.509 certificate content.")
            key, kind = pfx.key, PKCS12
            found = [pfx.cert.certificate, *(one.certificate for one in pfx.additional_certs)]
    except (ValueError, TypeError):
        raise BadParameter("The specified X.509 certificate content can not be read.") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise BadParameter("The key is neither RSA nor EC.")
    ders = [one.public_bytes(Encoding.DER) for one in found]
    if public_key_of(ders[0]) != public_bytes_of(key):
        raise BadParameter("The certificate does not belong to the private key.")
    return ders, key, kind
