"""What falls due in the vault: automatic renewals, and the events before and at expiry.

docs, "Azure Key Vault as Event Grid source": CertificateNearExpiry comes a fixed 30 days before the end of the
current version, whatever the policy's lifetime actions are; CertificateExpired once the end has passed. Both come
for disabled versions too (azure-docs#63553).
"""

from datetime import datetime, timedelta

from local.azure.keyvault.certificates import Vault
from local.azure.keyvault.entities import Certificate, Version
from local.azure.knobs import Knobs

NEAR = timedelta(days=30)


def run_due(vault: Vault, knobs: Knobs, now: datetime) -> None:
    """Begin the renewals and send the events that are due at `now`; each event goes out once for a version."""
    for certificate in vault:
        current = certificate.current
        if current is None:
            continue
        if _renewal_due(certificate, current, now):
            # Nothing is announced meanwhile: a clock that jumps must not speak of the end of a version that would
            # have been renewed on the way.
            if not certificate.in_progress:
                vault.renew(certificate)
            continue
        _announce(vault, certificate, current, now, knobs)


def _renewal_due(certificate: Certificate, current: Version, now: datetime) -> bool:
    if certificate.policy["issuer"]["name"] != "Self":
        return False
    for action in certificate.policy["lifetime_actions"]:
        if action["action"]["action_type"] != "AutoRenew":
            continue
        trigger = action["trigger"]
        days = trigger.get("days_before_expiry")
        lifetime = current.exp - current.nbf
        due = (
            current.nbf + lifetime * (trigger["lifetime_percentage"] / 100)
            if days is None
            else current.exp - timedelta(days=days)
        )
        return now >= due
    return False


def _announce(vault: Vault, certificate: Certificate, current: Version, now: datetime, knobs: Knobs) -> None:
    young = current.exp - current.created < NEAR and not knobs.near_expiry_for_young
    if now >= current.exp - NEAR and not young:
        _once(vault, "CertificateNearExpiry", certificate, current)
    for version in certificate.versions:
        if now >= version.exp:
            _once(vault, "CertificateExpired", certificate, version)


def _once(vault: Vault, event_type: str, certificate: Certificate, version: Version) -> None:
    if event_type not in version.announced:
        version.announced.add(event_type)
        vault.announce(event_type, certificate, version)
