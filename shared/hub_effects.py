"""What is done to a hub identity when a certificate is contained, and when its device may come back."""

from dataclasses import replace

from shared.enrollment import HubIdentity, Removed
from shared.errors import NotFound
from shared.exposure import SESSION_ENDS
from shared.rollover import ACT_LEASE, Rollover
from shared.services import Services


def disable(rollover: Rollover, identity: HubIdentity, services: Services) -> None:
    """Disable the identity, with a reason that says who did; nothing of it is lost."""
    reason = rollover.incident.mark if rollover.incident else None
    services.hub.rewrite(replace(identity, enabled=False, status_reason=reason))


def enable(identity: HubIdentity, services: Services) -> None:
    """Enable the identity with the thumbprints that it has."""
    services.hub.rewrite(replace(identity, enabled=True, status_reason=None))


def replace_compromised(rollover: Rollover, identity: HubIdentity, services: Services) -> None:
    """Let the identity accept the incoming certificate and no compromised one, and be enabled, in one write."""
    if rollover.incoming is None:
        raise NotFound("the incoming certificate")
    incoming = rollover.incoming.sha256_thumbprint
    compromised = {t for one in rollover.leaving for t in (one.sha1_thumbprint, one.sha256_thumbprint)}
    kept = [t for t in identity.thumbprints() if t not in compromised and t != incoming]
    services.hub.rewrite(
        replace(identity, primary=incoming, secondary=kept[0] if kept else incoming, enabled=True, status_reason=None)
    )


def remove(rollover: Rollover, identity: HubIdentity, services: Services) -> None:
    """Keep the twin in the ledger, then delete the identity.

    What is kept once is not overwritten by the twin of an identity that a registration made anew in between. Nor soon
    after: a read may be late, and show an identity that is deleted already while the twin that is read is none, or
    the new one's.
    """
    now, kept = services.now(), services.ledger.removed(rollover)
    if kept is not None and (kept.generation != identity.generation or now < kept.at + ACT_LEASE):
        still = kept.connected and now < kept.at + SESSION_ENDS
        kept = replace(kept, at=now, connected=identity.connected or still)
    else:
        twin = services.hub.twin(identity.device_id)
        if twin is None:
            raise NotFound("the twin of the hub identity that was just read")
        kept = Removed(now, identity.generation, identity.connected, twin)
    services.ledger.keep_removed(rollover.id, kept)
    services.hub.delete(identity)
