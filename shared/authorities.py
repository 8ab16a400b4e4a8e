"""Reads the CA certificates of the DPS, with their contents as far as somebody has them."""

from collections.abc import Iterator
from dataclasses import replace

from shared.authority import DpsCertificate
from shared.services import Services
from shared.tags import CA_TAG


def read_authorities(services: Services, certificate_name: str) -> tuple[DpsCertificate, ...]:
    """Every CA certificate of the DPS. Where ARM does not give one back, the vault's certificate of this name, or that
    of the CA which issues it (its tag ``rollover-ca``), may have a version with its thumbprint.

    Raises:
        ServiceUnavailable, ServiceRefused.
    """
    found = services.authorities.all()
    unseen = {one.sha1_thumbprint for one in found if one.certificate is None}
    if not unseen or not certificate_name:
        return tuple(found)
    contents = {}
    for name in _names(services, certificate_name):
        for sha1_thumbprint, version in services.vault.versions(name).items():
            if sha1_thumbprint in unseen and sha1_thumbprint not in contents:
                contents[sha1_thumbprint] = services.vault.certificate(name, version)
    return tuple(replace(one, certificate=one.certificate or contents.get(one.sha1_thumbprint)) for one in found)


def _names(services: Services, certificate_name: str) -> Iterator[str]:
    tagged = services.vault.latest(certificate_name)
    if tagged is None:
        return
    yield certificate_name
    issuer = tagged.tags.get(CA_TAG, "").strip()
    if issuer and services.vault.latest(issuer) is not None:
        yield issuer
