"""New certificates for a batch's devices from a CA in the vault: before they are asked to move, or to come back at all.

Only where the vault certificate of the group's CA says by its tag ``rollover-leaves`` how the devices' vault
certificates are called; whoever has none there gets his certificate elsewhere, and is asked all the same.
"""

from dataclasses import replace
from datetime import timedelta

from shared.certificate import is_same
from shared.errors import BadInput, ServiceUnavailable
from shared.fleet_rows import Batch, Device, Standing
from shared.fleet_turn import Turn, Turned
from shared.issuing import issued_by
from shared.lines import Lane
from shared.own_ca import Issued, issue_leaf
from shared.pacing import LATER
from shared.plans import Plan
from shared.rollover import Rollover
from shared.services import Services
from shared.tags import CA_TAG, LEAVES_TAG, leaf_name

A_TURN = 20
PAUSE = timedelta(seconds=10)
"""A vault makes 20 keys in ten seconds (azure-docs key-vault service-limits)."""
ELSEWHERE = "elsewhere"
"""In the place of a leaf's thumbprint: the device gets its certificate elsewhere."""
SOON = timedelta(minutes=1)
"""How soon a leaf that could not be issued is tried again; the time doubles with each time."""


def leaf_names(rollover: Rollover, services: Services) -> str:
    """How the vault certificates of the group's devices are called; empty: the vault has none.

    Raises:
        ServiceUnavailable, ServiceRefused: of the vault.
    """
    tagged = services.vault.latest(rollover.certificate_name)
    return tagged.tags.get(LEAVES_TAG, "").strip() if tagged else ""


def issue_leaves(turn: Turn) -> Turned:
    """One turn of a breach's leaves: the group trusts the CA that took over, and its devices need new certificates to
    come back. Also those that were left at the hub: they could not register any more.
    """
    names = turn.head.leaf_names
    batch, throttled = issue_some(turn, turn.batch)
    batch = batch.with_devices({one.device_id: _with_leaf(one) for one in batch.open if one.leaf or not names})
    if throttled or lack_leaves(batch, names):
        return Turned(batch, Lane.VAULT_KEYS, throttled=throttled)
    grace = turn.services.settings.policy.straggler_grace
    if turn.services.now() >= turn.head.begun_at + grace:
        batch = batch.with_devices({one.device_id: one.ended(Standing.LEFT, one.why) for one in batch.open})
    pause = min(SOON * (1 << min(batch.asks, 10)), LATER)
    return Turned(replace(batch, asks=batch.asks + 1), Lane.VAULT_KEYS, after=pause)


def _with_leaf(device: Device) -> Device:
    elsewhere = device.leaf in (None, ELSEWHERE)
    why = "it has no certificate in the vault, and gets one elsewhere" if elsewhere else "its certificate is issued"
    return device.ended(Standing.DONE, why)


def lack_leaves(batch: Batch, names: str) -> list[Device]:
    """The devices whose leaf was not looked for since they were asked last; ``names`` is the tag's value."""
    return [one for one in batch.open if names and one.leaf is None and one.tries <= batch.asks]


def issue_some(turn: Turn, batch: Batch) -> tuple[Batch, ServiceUnavailable | None]:
    """The batch with the leaves that this turn may issue. One that cannot be issued is noted at its device."""
    devices: dict[str, Device] = {}
    for device in lack_leaves(batch, turn.head.leaf_names)[:A_TURN]:
        try:
            devices[device.device_id] = _issued(turn, device)
        except ServiceUnavailable as error:
            return batch.with_devices(devices), error
        except BadInput as error:
            devices[device.device_id] = _without(device, str(error))
    return batch.with_devices(devices), None


def _issued(turn: Turn, device: Device) -> Device:
    services, rollover = turn.services, turn.rollover
    last = services.ledger.last(device.registration_id)
    if last is not None and last.plan is Plan.DISALLOW:
        why = f"{last.id} keeps it out: by a new certificate its group would let it in, so it gets none"
        return device.ended(Standing.LEFT, why)
    name = leaf_name(turn.head.leaf_names, device.registration_id)
    tagged = services.vault.latest(name)
    issuer = tagged.tags.get(CA_TAG, "").strip() if tagged else ""
    if not issuer or rollover.incoming is None:
        return replace(device, leaf=ELSEWHERE)
    incoming = services.vault.certificate(rollover.certificate_name, rollover.incoming.version)
    ca = services.vault.latest(issuer)
    if ca is None or not (is_same(ca.latest.certificate, incoming) or issued_by(ca.latest.certificate, incoming)):
        return _without(
            device, f"the vault's certificate {issuer!r} is not of the incoming CA: nothing is issued by it"
        )
    outlives = not rollover.plan.replaces
    found = issue_leaf(name, issuer, services, common_name=device.registration_id, outlives=outlives)
    if isinstance(found, Issued):
        return replace(device, leaf=found.latest.certificate.sha256_thumbprint)
    return _without(device, found.why)


def _without(device: Device, why: str) -> Device:
    return replace(device, tries=device.tries + 1, why=why)
