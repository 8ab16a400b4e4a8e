"""What the vault has for what a breach call names, or that it does not say. Containing needs none of it: a vault that
is down must not keep the door open.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.enrollment import Enrollment
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.ports import Tagged
from shared.rollover import Rollover
from shared.seen import VaultVersion
from shared.services import Services
from shared.tags import certificate_for, certificate_for_group


@dataclass(frozen=True)
class InVault:
    """What was read of the vault."""

    name: str
    """The certificate that the enrollment, or the group, is rolled from; empty when none is known."""
    latest: Tagged | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """SHA-1 thumbprint → SHA-256 of the public key, of compromised certificates that the vault holds."""
    unread: str | None = None
    """Why the vault could not be read."""

    def fresh(self, compromised: Collection[str]) -> VaultVersion | None:
        """The latest version, if it may take over from what has these SHA-256 thumbprints."""
        latest = self.latest.latest if self.latest else None
        fits = latest is not None and latest.enabled and latest.certificate.sha256_thumbprint not in compromised
        return latest if fits else None

    @property
    def unread_note(self) -> str | None:
        """That the replacement is not known, in the words of a preview; None where the vault was read."""
        if self.unread is None:
            return None
        return (
            f"not known, for the vault cannot be read ({self.unread}): it rests contained until the vault is back,"
            " and then goes on by itself"
        )

    def note(self, compromised: Collection[str]) -> str:
        """Where the replacement of an enrollment's certificate comes from, in the words of a preview."""
        if self.unread_note:
            return self.unread_note
        if not self.name:
            return (
                "no certificate of the vault is tied to this enrollment: it rests contained until one is tagged for it"
            )
        if self.latest is None:
            return f"the vault holds no certificate {self.name!r}: it rests contained until there is one"
        if self.fresh(compromised):
            return f"version {self.latest.latest.version} of the vault takes over"
        return (
            "the vault's latest version is compromised or disabled: a new one is asked for; until then it rests"
            " contained"
        )


def look_in_vault(
    enrollment: Enrollment, sha1_thumbprints: Sequence[str], last: Rollover | None, services: Services
) -> InVault:
    """What the vault has for an enrollment, of which these are compromised; ``last`` is its latest rollover."""
    try:
        held = {*sha1_thumbprints, *(one.sha1_thumbprint for one in enrollment.certificates())}
        name = certificate_for(enrollment.registration_id, held, services)
        latest = services.vault.latest(name) if name else None
        return InVault(name, latest, keys_of(sha1_thumbprints, name, services) if latest else {})
    except (ServiceUnavailable, ServiceRefused) as error:
        return InVault(last.certificate_name if last else "", unread=str(error))


def name_for_group(group_id: str, last: Rollover | None, services: Services) -> InVault:
    """The vault's certificate that a group is tagged for; ``last`` is the group's latest rollover."""
    try:
        return InVault(certificate_for_group(group_id, set(), services))
    except (ServiceUnavailable, ServiceRefused) as error:
        return InVault(last.certificate_name if last else "", unread=str(error))


def look_in_vault_for_group(
    named: InVault, group_id: str, sha1_thumbprints: Sequence[str], services: Services
) -> InVault:
    """What the vault has for a group, of which these CA certificates are compromised."""
    if named.unread is not None:
        return named
    try:
        name = named.name or certificate_for_group(group_id, set(sha1_thumbprints), services)
        latest = services.vault.latest(name) if name else None
        return InVault(name, latest, keys_of(sha1_thumbprints, name, services) if latest else {})
    except (ServiceUnavailable, ServiceRefused) as error:
        return InVault(named.name, unread=str(error))


def with_name(rollover: Rollover, services: Services) -> Rollover:
    """A breach with the vault certificate that takes over, where none was known when a person called: the vault could
    not be read then, or nothing was tagged.

    Raises:
        ServiceUnavailable, ServiceRefused.
    """
    if rollover.certificate_name or not rollover.plan.replaces:
        return rollover
    leaving = {one.sha1_thumbprint for one in rollover.leaving}
    if rollover.group_id:
        name = certificate_for_group(rollover.group_id, leaving, services)
    else:
        name = certificate_for(rollover.registration_id, leaving, services)
    return replace(rollover, certificate_name=name)


def keys_of(sha1_thumbprints: Sequence[str], name: str, services: Services) -> dict[str, str]:
    """SHA-1 thumbprint → SHA-256 of the public key, of those that are versions of the vault's certificate ``name``.

    Raises:
        ServiceUnavailable, ServiceRefused.
    """
    versions = services.vault.versions(name)
    held = [one for one in sha1_thumbprints if one in versions]
    return {one: services.vault.public_key_sha256(name, versions[one]) for one in held}
