"""Who may connect: a device's certificate against its identity.

docs, "Authenticate identities with X.509 certificates": the certificate's thumbprint must stand in one of the two
slots; chain and common name are not looked at (azure-docs PR#1061, iotedge#621), nor is any revocation list
(azure-iot-sdk-csharp#622). Validity is judged here, at connect, and never again (azure-iot-sdk-python#968).
"""

from datetime import datetime

from local.azure.iothub.store import Json
from local.azure.x509 import sha1_thumbprint, sha256_thumbprint, validity


def reason_to_refuse(identity: Json | None, chain: list[bytes], now: datetime) -> str | None:
    """Why a device that shows `chain` (DER, leaf first) is not let in now; None when it is."""
    if identity is None:
        return "the device is not registered"
    if identity["status"] != "enabled":
        return "the device is disabled"
    kind = identity["authentication"]["type"]
    if kind != "selfSigned":
        # CA-signed devices need a CA registered at the hub, which is not emulated; DPS always writes selfSigned.
        return f"the identity is of type {kind}, not selfSigned"
    if not chain:
        return "no certificate was shown"
    if (out_of_date := reason_of_time(chain[0], now)) is not None:
        return out_of_date
    return None if pins(identity, chain[0]) else "the certificate's thumbprint is in neither slot"


def reason_of_time(leaf: bytes, now: datetime) -> str | None:
    """Why a certificate (DER) does not hold at `now`; None when it does."""
    try:
        start, end = validity(leaf)
    except ValueError:
        return "the certificate cannot be read"
    if now < start:
        return "the certificate is not valid yet"
    return "the certificate has expired" if now > end else None


def pins(identity: Json, leaf: bytes) -> bool:
    """Whether a slot of the identity holds the certificate's thumbprint, SHA-1 or SHA-256."""
    slots = identity["authentication"]["x509Thumbprint"].values()
    return sha256_thumbprint(leaf) in slots or sha1_thumbprint(leaf) in slots
