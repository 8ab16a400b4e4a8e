"""Begins rollovers of devices that an enrollment group admits: from the vault certificate of the device.

Its tag ``rollover-ca`` leads to the CA of the group, whose tag ``rollover-leaves`` says how the vault certificates of
the devices are called (``shared.tags``).
"""

from shared.certificate import Certificate, is_same
from shared.enrollment import Enrollment, HubIdentity, Registration
from shared.events import Lifecycle, LogEvent, log
from shared.member_observation import brings_another, issuers_of
from shared.member_target import decide_in_use, ends_with_its_ca, in_use, why_group_holds_back
from shared.plans import Plan
from shared.ports import Tagged
from shared.rollover import Outcome, Rollover
from shared.services import Services
from shared.starting import Started, begin_new, cannot, ended_alike, hasten, keeps_breach_open
from shared.tags import LEAVES_TAG, group_of, leaf_name
from shared.target import Begin, CannotBegin, NothingToDo


def start_member_rollover(
    registration_id: str,
    enrollment: Enrollment | None,
    tagged: Tagged,
    ca: Tagged,
    cause: str,
    services: Services,
    *,
    hint: bool,
) -> Started:
    """Begin, or go on with, the rollover of the group's device that this vault certificate is of.

    Args:
        enrollment: an individual one of the same name, disabled, if there is one.
        ca: the vault certificate of the group's CA.

    Raises:
        ServiceUnavailable, ServiceRefused: as ``start_rollover``.
    """
    group_id = group_of(ca) or ""
    called = leaf_name(ca.tags.get(LEAVES_TAG, "").strip(), registration_id)
    if called.lower() != tagged.name.lower():
        why = f"it is for {registration_id!r}, whose certificate is called {called!r} (tag {LEAVES_TAG} of {ca.name!r})"
        return cannot(tagged.name, why, services)
    last = services.ledger.last(registration_id)
    if last is not None and last.outcome is None:
        return hasten(last, services) if hint else Started("open", f"{last.id} is {last.status}", last.id)
    if last is not None and (reason := _keeps_it_out(last, enrollment)):
        return cannot(tagged.name, reason, services)
    registration = services.provisioning.registration(registration_id)
    device_id = (registration and registration.device_id) or registration_id
    decision = _look_and_decide(device_id, registration, enrollment, tagged, group_id, services)
    match decision:
        case NothingToDo(why=why):
            log(LogEvent.NOTHING_TO_DO, registration_id=registration_id, group_id=group_id, why=why)
            return Started("nothing", why)
        case CannotBegin(why=why):
            return cannot(tagged.name, why, services)
        case Begin() if _would_bring_back_compromised(decision, tagged, registration_id, services):
            why = f"the vault's latest version, {tagged.latest.version}, is one that was reported compromised"
            return cannot(tagged.name, why, services)
        case Begin():
            new = Rollover(
                id="",  # the ledger gives it
                plan=Plan.MEMBER_EXPIRY,
                registration_id=registration_id,
                device_id=device_id,
                member_of=group_id,
                certificate_name=tagged.name,
                cause=f"{cause} (a device of group {group_id}, as the tag {LEAVES_TAG} of its CA says)",
                started_at=services.now(),
                outgoing=decision.outgoing,
                standby=decision.standby,
                baseline=registration.last_updated if registration else None,
                due_at=services.now(),
                outbox=(f"{Lifecycle.STARTED.value}/1",),
            )
            if last is not None and ended_alike(last, new, tagged, registration):
                why = f"{last.id} ended as {last.status}: {last.outcome_reason}"
                return Started("nothing", why, last.id)
            return begin_new(new, last, decision.why, services, alone=not hint)


def _keeps_it_out(last: Rollover, enrollment: Enrollment | None) -> str | None:
    if keeps_breach_open(last):
        return f"{last.id} needs a person first: {last.next_action}"
    if last.plan is Plan.DISALLOW and last.outcome is not Outcome.REFUSED and enrollment is None:
        return f"{last.id} keeps the device out: POST /api/devices/{last.device_id}/allow lets it in"
    return None


def _look_and_decide(
    device_id: str,
    registration: Registration | None,
    enrollment: Enrollment | None,
    tagged: Tagged,
    group_id: str,
    services: Services,
) -> Begin | NothingToDo | CannotBegin:
    """From the cheap to the dear: most certificates are well, and that shows at the hub."""
    identity = services.hub.identity(device_id)
    now, settings = services.now(), services.settings
    used = in_use(
        enrollment=enrollment,
        registration=registration,
        identity=identity,
        hub=settings.hub_hostname,
        latest=tagged.latest,
        shown=_versions_shown(identity, tagged, services),
        now=now,
        due=settings.due,
    )
    if not isinstance(used, Certificate):
        return used
    decision = decide_in_use(used, tagged.latest, now, settings.due)
    if not isinstance(decision, Begin):
        return decision
    group = services.provisioning.group(group_id)
    if held := why_group_holds_back(group, group_id):
        return held
    if brings := brings_another(group_id, tagged.name, used, services):
        why = f"{brings.id} brings it a new certificate: it is {brings.status}"
        needs = f"{brings.id} needs a person first: {brings.next_action}"
        return NothingToDo(why) if brings.outcome is None else CannotBegin(needs)
    unasked = is_same(used, tagged.latest.certificate)
    issuers = issuers_of(tagged, (), services) if unasked else ()
    if any(ends_with_its_ca(used, one, now, settings.due) for one in issuers):
        return NothingToDo("it ends with its CA, and is renewed when that is rolled")
    return decision


def _would_bring_back_compromised(begin: Begin, tagged: Tagged, registration_id: str, services: Services) -> bool:
    newest = tagged.latest.certificate
    return not is_same(newest, begin.outgoing) and newest.sha256_thumbprint in services.ledger.compromised(
        registration_id
    )


def _versions_shown(identity: HubIdentity | None, tagged: Tagged, services: Services) -> list[Certificate]:
    """The versions of the vault's certificate that the hub accepts. The vault lists them by SHA-1, and DPS writes
    SHA-256 to the hub; so all are read where the latest is not the only one accepted."""
    newest = tagged.latest.certificate
    left = {*identity.thumbprints()} - {newest.sha1_thumbprint, newest.sha256_thumbprint} if identity else set()
    found = [newest] if identity and identity.holds(newest.sha1_thumbprint, newest.sha256_thumbprint) else []
    for version in services.vault.versions(tagged.name).values() if left else ():
        one = services.vault.certificate(tagged.name, version)
        if left & {one.sha1_thumbprint, one.sha256_thumbprint}:
            found.append(one)
            left -= {one.sha1_thumbprint, one.sha256_thumbprint}
        if not left:
            break
    return found
