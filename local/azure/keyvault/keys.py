"""The key behind a certificate: what is shown of it, and signing a digest with it. It never leaves the vault.

docs about-certificates: the key has the certificate's name and version, its attributes, and the operations that the
policy's key usages map to. REST reference: "Get Key", "Sign"; algorithms: docs about-keys-details.
"""

import base64
import binascii
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from local.azure.keyvault.entities import Certificate, Version
from local.azure.keyvault.issuing import Key
from local.azure.keyvault.refusals import BadParameter, KeyForbidden

Json = dict[str, Any]
# docs about-certificates, "Mapping X.509 usage to key operations"; agreeing on keys maps to nothing.
_OPERATIONS = {
    "dataEncipherment": ("encrypt", "decrypt"),
    "decipherOnly": ("decrypt",),
    "digitalSignature": ("sign", "verify"),
    "encipherOnly": ("encrypt",),
    "keyCertSign": ("sign", "verify"),
    "keyEncipherment": ("wrapKey", "unwrapKey"),
    "nonRepudiation": ("sign", "verify"),
    "cRLSign": ("sign", "verify"),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
# docs about-keys-details: one algorithm to a curve, named in the JWK as RFC 7518 names it.
_CURVES = {"secp256r1": ("P-256", "ES256"), "secp384r1": ("P-384", "ES384"), "secp521r1": ("P-521", "ES512")}


def shown(certificate: Certificate, version: Version, kid: str, attributes: Json) -> Json:
    """The key bundle: the public part as a JWK, and that a certificate manages it."""
    key = {"kid": kid, "key_ops": operations(certificate), **_jwk(version.key)}
    bundle: Json = {"key": key, "attributes": attributes, "managed": True}
    return bundle | ({"tags": version.tags} if version.tags else {})


def operations(certificate: Certificate) -> list[str]:
    """What the key may be used for. A policy without usages has the vault's default, which `policy` fills in."""
    usages = certificate.policy["x509_props"]["key_usage"]
    return list(dict.fromkeys(operation for usage in usages for operation in _OPERATIONS.get(usage, ())))


def sign(certificate: Certificate, version: Version, asked: Json, now: datetime) -> str:
    """The signature of a digest, base64url; of an EC key the two numbers one after the other (RFC 7518, 3.4)."""
    algorithm, value = asked.get("alg"), asked.get("value")
    if not isinstance(algorithm, str) or not isinstance(value, str):
        raise BadParameter("Property alg and property value are required.")
    _check_usable(certificate, version, now)
    family, size = algorithm[:2], algorithm[2:]
    if size not in _HASHES or family not in ("RS", "PS", "ES"):
        raise BadParameter(f"Property alg has invalid value: {algorithm}.")
    digest = _digest(value, algorithm, _HASHES[size].digest_size)
    return _base64url(_signature(version.key, algorithm, digest))


def _check_usable(certificate: Certificate, version: Version, now: datetime) -> None:
    """docs about-certificates: inoperable outside its dates, or disabled (words: azure-sdk-for-python#45342)."""
    if not version.enabled:
        raise KeyForbidden("Operation sign is not allowed on a disabled key.", "KeyDisabled")
    if now >= version.exp:
        raise KeyForbidden("Operation sign is not allowed on an expired key.", "KeyExpired")
    if now < version.nbf:
        raise KeyForbidden("Operation sign is not allowed on a key that is not yet valid.", "KeyNotYetValid")
    if "sign" not in operations(certificate):
        raise KeyForbidden("Operation sign is not permitted on this key.", "KeyOperationForbidden")


def _signature(key: Key, algorithm: str, digest: bytes) -> bytes:
    hashed = Prehashed(_HASHES[algorithm[2:]])
    if isinstance(key, rsa.RSAPrivateKey) and algorithm.startswith("RS"):
        return key.sign(digest, padding.PKCS1v15(), hashed)
    if isinstance(key, rsa.RSAPrivateKey) and algorithm.startswith("PS"):
        mask = padding.MGF1(_HASHES[algorithm[2:]])
        return key.sign(digest, padding.PSS(mask, padding.PSS.DIGEST_LENGTH), hashed)
    if isinstance(key, ec.EllipticCurvePrivateKey) and _CURVES.get(key.curve.name, ("", ""))[1] == algorithm:
        numbers = decode_dss_signature(key.sign(digest, ec.ECDSA(hashed)))
        return b"".join(number.to_bytes((key.key_size + 7) // 8, "big") for number in numbers)
    raise BadParameter(f"Key and signing algorithm are incompatible: {algorithm}.")


def _digest(value: str, algorithm: str, length: int) -> bytes:
    try:
        digest = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        raise BadParameter("Property value has invalid value: it is not base64url.") from None
    if len(digest) != length:
        raise BadParameter(
            f"Invalid length of 'value': {len(digest)} bytes. {algorithm} requires {length} bytes, encoded with "
            "base64url."
        )
    return digest


def _jwk(key: Key) -> Json:
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        return {"kty": "RSA", "n": _number(public.n, key.key_size), "e": _number(public.e, public.e.bit_length())}
    point = key.public_key().public_numbers()
    curve = _CURVES.get(key.curve.name, ("P-256K", ""))[0]
    return {"kty": "EC", "crv": curve, "x": _number(point.x, key.key_size), "y": _number(point.y, key.key_size)}


def _number(number: int, bits: int) -> str:
    return _base64url(number.to_bytes((bits + 7) // 8, "big"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
