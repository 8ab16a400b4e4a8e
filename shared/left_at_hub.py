"""What the hub still accepts although no enrollment is there to be breached: DPS deletes nothing at the hub."""

from shared.enrollment import HubIdentity
from shared.selecting import Selector
from shared.services import Services
from shared.tags import enrollment_of


def left_at_hub(selector: Selector, services: Services) -> str:
    """Which hub identities what is named still gets in by, and how to contain it there; empty where there is none.

    A deleted enrollment takes its device's identity not with it (azure-docs how-to-revoke-device-access-portal), and a
    breach goes by the enrollment. A disallowing makes one, disabled, and disables the identity.
    """
    identities = [one for one in map(services.hub.identity, _device_ids(selector, services)) if one and one.enabled]
    return "".join(map(_words, identities))


def _device_ids(selector: Selector, services: Services) -> list[str]:
    match selector.kind:
        case "device_id":
            return [selector.value]
        case "thumbprint":
            return services.hub.holders([selector.value])
        case "certificate_name":
            tagged = services.vault.latest(selector.value)
            registration_id = enrollment_of(tagged)[0] if tagged else None
        case _:
            registration_id = selector.value
    if registration_id is None:
        return []
    last = services.ledger.last(registration_id)
    return [last.device_id if last is not None else registration_id]


def _words(identity: HubIdentity) -> str:
    device_id = identity.device_id
    return (
        f"; but the hub still accepts {device_id!r} ({', '.join(identity.thumbprints()) or identity.authentication}):"
        f" POST /api/devices/{device_id}/disallow keeps it out, with its certificate as leaf_certificate unless the"
        " vault has it, and a breach can be called then; or disable the device identity at the hub by hand, or"
        " delete it there, if its enrollment is to let it in again with another certificate (its twin is lost)"
    )
