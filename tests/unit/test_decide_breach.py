"""Every verdict of the steps that contain a compromised certificate (OLD) and bring the device back (on NEW)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.decide_recovery import REPROVISION_LIMIT, slot_for_replacement
from shared.enrollment import Enrollment, HubIdentity, Removed, Slot, Twin
from shared.escape import Route
from shared.eviction import EVICTION_LIMIT, EVICTION_PATIENCE
from shared.exposure import SESSION_ENDS, exposures
from shared.incident import Incident, Mode
from shared.plans import PLANS, Plan, Step
from shared.rollover import Outcome, Rollover, reported_compromised
from shared.seen import Issuance, Job, Observation, Policy
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Refuse, Wait
from tests.builders import (
    EXPIRED,
    NEW,
    NEWER,
    OLD,
    STRANGER,
    Case,
    a_rollover,
    a_version,
    an_enrollment,
    an_identity,
    as_incoming,
    as_outgoing,
    check_verdict,
    seen,
    verdict,
)
from tests.certificates import NOW

SETTLE = Policy().settle
FOLLOWING = replace(NEWER, not_before=NEW.not_before)
ANOTHERS = replace(NEW, common_name="dev-02")
ROUTE = Route("group g1", True, "its signing certificate is the leaf's issuer")


def an_incident(mode: Mode = Mode.REMOVE, **changes: Any) -> Incident:
    """Ada reported OLD compromised."""
    incident = Incident("incident-1", mode, "stolen laptop", "Ada (oid-1)", "oid-1", (as_outgoing(OLD),))
    return replace(incident, **changes)


def a_breach(step: Step, mode: Mode = Mode.REMOVE, plan: Plan | None = None, **changes: Any) -> Rollover:
    """A breach of OLD that has come to ``step``."""
    plan = plan or (Plan.BREACH_REPROVISION if mode is Mode.REPROVISION else Plan.BREACH)
    order = PLANS[plan]
    done = order[: order.index(step)]
    incoming = as_incoming(NEW) if Step.ISSUE_CERTIFICATE in done else None
    values = {"plan": plan, "incident": an_incident(mode), "done": done, "incoming": incoming, **changes}
    return a_rollover(**values)


def disabled(*certificates: Any, **fields: Any) -> Enrollment:
    return an_enrollment(*certificates, provisioningStatus="disabled", **fields)


def shut(*thumbprints: Any, **fields: Any) -> HubIdentity:
    """A hub identity that we disabled."""
    return an_identity(*thumbprints, **{"enabled": False, "status_reason": an_incident().mark, **fields})


def check(step: Step, case: Case, **changes: Any) -> None:
    check_verdict(step, case, a_breach(step, **changes))


# --- disable_enrollment -----------------------------------------------------------------------------------------

DISABLE_CASES: dict[str, Case] = {
    "shuts the door": (seen(enrollment=an_enrollment(OLD)), Act, "shuts the door"),
    "shuts the door when only the second slot is compromised": (
        seen(enrollment=an_enrollment(STRANGER, OLD)),
        Act,
        "shuts the door",
    ),
    "is done when it is disabled": (seen(enrollment=disabled(OLD)), AlreadyDone, "is disabled"),
    "shuts the door though no slot holds it any more": (seen(enrollment=an_enrollment(NEW)), Act, "shuts the door"),
    "is done when somebody deleted the enrollment": (seen(), AlreadyDone, "no individual enrollment"),
}


@pytest.mark.parametrize("case", DISABLE_CASES.values(), ids=DISABLE_CASES.keys())
def test_disable_enrollment(case):
    check(Step.DISABLE_ENROLLMENT, case)


def test_mode_reprovision_leaves_a_door_open_that_no_compromised_certificate_passes():
    """Its device must come back through it before anything is contained."""
    case = (seen(enrollment=an_enrollment(NEW)), AlreadyDone, "no slot")
    check(Step.DISABLE_ENROLLMENT, case, mode=Mode.REPROVISION)


def test_a_disallowed_device_is_kept_out_whatever_its_certificates():
    rollover = a_breach(Step.DISABLE_ENROLLMENT, plan=Plan.DISALLOW, incident=an_incident(Mode.DISABLE, compromised=()))
    case = (seen(enrollment=an_enrollment(NEW)), Act, "shuts the door")
    check_verdict(Step.DISABLE_ENROLLMENT, case, rollover)


# --- remove_hub_registration ------------------------------------------------------------------------------------

REMOVE = Step.REMOVE_HUB_REGISTRATION
DOOR = disabled(OLD)
REMOVE_CASES: dict[str, Case] = {
    "disables first, for that ends the session": (
        seen(enrollment=DOOR, identity=an_identity(OLD, OLD, connected=True)),
        Act,
        "is disabled",
    ),
    "disables although the thumbprint is a SHA-1": (
        seen(enrollment=DOOR, identity=an_identity(OLD.sha1_thumbprint)),
        Act,
        "is disabled",
    ),
    "waits for the session to end": (
        seen(enrollment=DOOR, identity=shut(OLD, OLD, connected=True)),
        Wait,
        "has not ended the session",
    ),
    "removes once the session has ended": (seen(enrollment=DOOR, identity=shut(OLD, OLD)), Act, "is removed"),
    "removes a session's identity though it accepts another certificate by now": (
        seen(enrollment=DOOR, identity=an_identity(NEW, NEW, connected=True)),
        Act,
        "is disabled",
    ),
    "removes at once what cannot be disabled": (
        seen(enrollment=DOOR, identity=an_identity(OLD, authentication="sas", connected=True)),
        Act,
        "is removed",
    ),
    "is done without identity": (seen(enrollment=DOOR), AlreadyDone, "has no identity"),
    "is done when the hub accepts only another one and has no session": (
        seen(enrollment=DOOR, identity=an_identity(NEW, NEW)),
        AlreadyDone,
        "accepts no compromised",
    ),
    "goes back when somebody opened the door": (
        seen(enrollment=an_enrollment(OLD), identity=an_identity(OLD)),
        Back,
        "somebody enabled the enrollment",
    ),
}


@pytest.mark.parametrize("case", REMOVE_CASES.values(), ids=REMOVE_CASES.keys())
def test_remove_hub_registration(case):
    check(REMOVE, case)


OPEN = an_enrollment(NEW)
OPEN_DOOR_CASES: dict[str, Case] = {
    "evicts all the same": (seen(enrollment=OPEN, identity=an_identity(OLD, connected=True)), Act, "is disabled"),
    "has the door shut when the hub has nothing left": (
        seen(enrollment=OPEN, identity=an_identity(NEW)),
        Back,
        "DPS admits the device",
    ),
    "has the door shut when the identity is gone": (seen(enrollment=OPEN), Back, "DPS admits the device"),
}


@pytest.mark.parametrize("mode", [Mode.REMOVE, Mode.DISABLE])
@pytest.mark.parametrize("case", OPEN_DOOR_CASES.values(), ids=OPEN_DOOR_CASES.keys())
def test_remove_hub_registration_where_dps_admits_the_device_with_a_good_certificate(case, mode):
    """Back at once, and connected, it could not be told from the thief at the second look."""
    check(REMOVE, case, mode=mode)


@pytest.mark.parametrize("mode", [Mode.REMOVE, Mode.DISABLE])
@pytest.mark.parametrize(("door", "kind"), [(OPEN, Back), (disabled(NEW), Act)])
def test_an_identity_that_was_disabled_and_is_enabled_again_is_disabled_again_behind_a_shut_door(door, kind, mode):
    """Else it is thrown out, registers and is thrown out, until acting counts as of no help."""
    what = seen(enrollment=door, identity=an_identity(NEW, connected=True))
    assert isinstance(verdict(REMOVE, what, a_breach(REMOVE, mode, acts=1)), kind)


WHY = "the hub has not ended the session of the disabled identity dev-01 yet"


def test_an_identity_whose_session_is_shown_too_long_is_removed_all_the_same():
    rollover = a_breach(REMOVE, waiting_for=WHY, waiting_since=NOW)
    what = seen(now=NOW + EVICTION_PATIENCE, enrollment=DOOR, identity=shut(OLD, OLD, connected=True))
    assert isinstance(verdict(REMOVE, what, rollover), Act)


DISABLE_MODE_CASES: dict[str, Case] = {
    "disables": (seen(enrollment=DOOR, identity=an_identity(OLD, OLD)), Act, "is disabled"),
    "waits for the session to end": (seen(enrollment=DOOR, identity=shut(OLD, connected=True)), Wait, "not ended"),
    "is done when it is disabled and has no session": (
        seen(enrollment=DOOR, identity=shut(OLD)),
        AlreadyDone,
        "is disabled and has no session",
    ),
    "cannot where the rewrite would have to carry keys": (
        seen(enrollment=DOOR, identity=an_identity(OLD, authentication="sas")),
        NeedsPerson,
        "authenticates by sas",
    ),
}


@pytest.mark.parametrize("case", DISABLE_MODE_CASES.values(), ids=DISABLE_MODE_CASES.keys())
def test_remove_hub_registration_in_mode_disable_never_removes(case):
    check(REMOVE, case, mode=Mode.DISABLE)


def test_mode_disable_calls_a_person_when_the_session_never_ends():
    rollover = a_breach(REMOVE, Mode.DISABLE, waiting_for=WHY, waiting_since=NOW)
    what = seen(now=NOW + EVICTION_LIMIT, enrollment=DOOR, identity=shut(OLD, connected=True))
    assert isinstance(verdict(REMOVE, what, rollover), NeedsPerson)


LATER = NOW + timedelta(minutes=10)
CLEAN = an_enrollment(NEW, registered=LATER)
REPROVISION_CASES: dict[str, Case] = {
    "is done when the session began after the registration": (
        seen(
            enrollment=CLEAN,
            identity=an_identity(NEW, NEW, connected=True, connection_changed=LATER + timedelta(seconds=1)),
        ),
        AlreadyDone,
        "no session from before",
    ),
    "ends a session from before the registration": (
        seen(enrollment=CLEAN, identity=an_identity(NEW, NEW, connected=True, connection_changed=NOW)),
        Act,
        "may still have a session",
    ),
    "enables again when that session has ended": (
        seen(enrollment=CLEAN, identity=shut(NEW, NEW)),
        Act,
        "is enabled again",
    ),
    "waits for that session to end": (seen(enrollment=CLEAN, identity=shut(NEW, connected=True)), Wait, "not ended"),
    "replaces at the hub what DPS did not": (
        seen(enrollment=CLEAN, identity=an_identity(OLD, OLD)),
        Act,
        "did not replace",
    ),
    "goes back while the device has not registered": (
        seen(enrollment=an_enrollment(NEW), identity=an_identity(OLD, OLD)),
        Back,
        "has not registered again",
    ),
}


@pytest.mark.parametrize("case", REPROVISION_CASES.values(), ids=REPROVISION_CASES.keys())
def test_remove_hub_registration_in_mode_reprovision_ends_what_is_from_before(case):
    check(REMOVE, case, mode=Mode.REPROVISION)


# --- verify_containment -----------------------------------------------------------------------------------------

VERIFY = Step.VERIFY_CONTAINMENT
LOOKED = "nothing compromised is accepted; looking again, for what was under way to show"


def removed(*, connected: bool = False, ago: timedelta = timedelta()) -> Removed:
    return Removed(NOW - ago, "g1", connected, Twin("", {}, {}))


VERIFY_CASES: dict[str, Case] = {
    "looks a second time": (seen(enrollment=DOOR), Wait, "looking again"),
    "waits for a disabled identity's session": (
        seen(enrollment=DOOR, identity=shut(OLD, connected=True)),
        Wait,
        "still has a session",
    ),
    "waits a minute for the session that the identity had when it was removed": (
        seen(enrollment=DOOR, removed=removed(connected=True)),
        Wait,
        "it ends within a minute",
    ),
    "goes back when a late registration made the identity anew": (
        seen(enrollment=DOOR, identity=an_identity(OLD, OLD)),
        Back,
        "under way when the door was shut",
    ),
    "goes back when an identity that it may be has a session": (
        seen(enrollment=DOOR, identity=an_identity(NEW, connected=True)),
        Back,
        "may be a compromised certificate's",
    ),
    "goes back when the door is open again": (seen(enrollment=an_enrollment(OLD)), Back, "somebody enabled"),
    "calls a person when another identity accepts it": (
        seen(enrollment=DOOR, routes=(Route("hub identity dev-02", True, "it pins the thumbprint"),)),
        NeedsPerson,
        "hub identity dev-02",
    ),
}


@pytest.mark.parametrize("case", VERIFY_CASES.values(), ids=VERIFY_CASES.keys())
def test_verify_containment(case):
    check(VERIFY, case)


@pytest.mark.parametrize(("waited", "kind"), [(SETTLE - timedelta(seconds=1), Wait), (SETTLE, AlreadyDone)])
def test_a_containment_is_stated_only_when_it_has_held_for_a_while(waited, kind):
    rollover = a_breach(VERIFY, waiting_for=LOOKED, waiting_since=NOW)
    assert isinstance(verdict(VERIFY, seen(now=NOW + waited, enrollment=DOOR), rollover), kind)


def test_what_held_before_something_was_exposed_does_not_count():
    rollover = a_breach(VERIFY, waiting_for="not contained yet: x", waiting_since=NOW - 2 * SETTLE)
    assert isinstance(verdict(VERIFY, seen(enrollment=DOOR), rollover), Wait)


def test_a_removed_session_no_longer_counts_after_a_minute():
    what = seen(enrollment=DOOR, removed=removed(connected=True, ago=SESSION_ENDS))
    assert exposures(a_breach(VERIFY), what) == []


def test_a_route_that_the_caller_accepted_does_not_stop_it():
    incident = an_incident(accepted_routes=("hub identity dev-02",))
    rollover = a_breach(VERIFY, incident=incident, waiting_for=LOOKED, waiting_since=NOW - SETTLE)
    what = seen(enrollment=DOOR, routes=(Route("hub identity dev-02", True, "it pins the thumbprint"),))
    assert isinstance(verdict(VERIFY, what, rollover), AlreadyDone)


# --- issue_certificate ------------------------------------------------------------------------------------------

ISSUE = Step.ISSUE_CERTIFICATE
HELD = a_version(OLD, "v1")
ISSUE_CASES: dict[str, Case] = {
    "asks for a new version": (seen(enrollment=DOOR, latest=HELD), Act, "a new one is asked for"),
    "takes a version that is not compromised": (seen(enrollment=DOOR, latest=a_version(NEW)), AlreadyDone, "v2"),
    "rests while the vault issues": (
        seen(enrollment=DOOR, latest=HELD, issuance=Issuance(True, False, None)),
        Wait,
        "contained, no replacement yet: the vault is issuing",
    ),
    "rests while somebody must sign": (
        seen(enrollment=DOOR, latest=HELD, issuance=Issuance(True, True, None)),
        Wait,
        "waits to be signed",
    ),
    "signs the request where a CA of the vault is to": (
        seen(enrollment=DOOR, latest=HELD, issuance=Issuance(True, True, None), issuer="issuing-ca"),
        Act,
        "signed by the key of the vault's certificate 'issuing-ca'",
    ),
    "leaves to the vault what it issues by itself, whatever the tag says": (
        seen(enrollment=DOOR, latest=HELD, issuance=Issuance(True, False, None), issuer="issuing-ca"),
        Wait,
        "the vault is issuing",
    ),
    "rests when the version is disabled": (
        seen(enrollment=DOOR, latest=a_version(NEW, enabled=False)),
        Wait,
        "it is disabled",
    ),
    "rests when the version is for another device": (
        seen(enrollment=DOOR, latest=a_version(ANOTHERS)),
        Wait,
        "contained, no replacement yet: version v2 cannot take over: its common name",
    ),
    "rests when the version has expired": (seen(enrollment=DOOR, latest=a_version(EXPIRED)), Wait, "it expired"),
    "rests when the vault has no such certificate": (seen(enrollment=DOOR), Wait, "the vault holds no certificate"),
    "goes back when the hub accepts it again": (
        seen(enrollment=DOOR, latest=HELD, identity=an_identity(OLD)),
        Back,
        "accepts a compromised certificate again",
    ),
}


@pytest.mark.parametrize("case", ISSUE_CASES.values(), ids=ISSUE_CASES.keys())
def test_issue_certificate_of_a_breach_never_gives_up_and_rests_contained(case):
    check(ISSUE, case)


def test_it_rests_contained_while_no_certificate_of_the_vault_is_known():
    case = (seen(enrollment=DOOR), Wait, "no certificate of the vault is tied to this enrollment")
    check(ISSUE, case, certificate_name="")


def test_a_vault_that_fails_after_it_was_asked_is_waited_for():
    issuance = Issuance(False, False, "Forbidden: no issuer")
    rollover = a_breach(ISSUE, acts=1)
    check_verdict(ISSUE, (seen(enrollment=DOOR, latest=HELD, issuance=issuance), Wait, "no issuer"), rollover)


def test_a_replacement_may_end_sooner_than_the_compromised_certificate():
    """Near expiry it may not; here any valid certificate with another key is better than none."""
    shorter = replace(NEW, not_after=OLD.not_after - timedelta(days=5))
    assert isinstance(verdict(ISSUE, seen(enrollment=DOOR, latest=a_version(shorter)), a_breach(ISSUE)), AlreadyDone)


def test_a_replacement_with_the_compromised_key_is_none():
    same_key = replace(NEW, public_key_sha256=OLD.public_key_sha256)
    check(ISSUE, (seen(enrollment=DOOR, latest=a_version(same_key)), Wait, "a rollover needs a new key"))


def test_mode_reprovision_does_not_say_that_it_is_contained():
    case = (seen(enrollment=DOOR, latest=a_version(ANOTHERS)), Wait, "no replacement yet, and not contained")
    check(ISSUE, case, mode=Mode.REPROVISION)


# --- upload_secondary -------------------------------------------------------------------------------------------

UPLOAD = Step.UPLOAD_SECONDARY
UPLOAD_CASES: dict[str, Case] = {
    "puts it beside the mirrored compromised one": (
        seen(enrollment=disabled(OLD, OLD), latest=a_version(NEW)),
        Act,
        "slot secondary",
    ),
    "puts it over the compromised secondary": (
        seen(enrollment=disabled(STRANGER, OLD), latest=a_version(NEW)),
        Act,
        "slot secondary",
    ),
    "puts it over the compromised primary when the secondary is another's": (
        seen(enrollment=disabled(OLD, STRANGER), latest=a_version(NEW)),
        Act,
        "slot primary",
    ),
    "is done when a slot holds it": (seen(enrollment=disabled(OLD, NEW), latest=a_version(NEW)), AlreadyDone, "holds"),
    "has no place among valid others": (
        seen(enrollment=disabled(STRANGER, replace(NEW, sha256_thumbprint="AB")), latest=a_version(NEW)),
        NeedsPerson,
        "no place",
    ),
    "calls a person when the enrollment was deleted": (seen(latest=a_version(NEW)), NeedsPerson, "was deleted"),
    "calls a person when the enrollment is no longer ours": (
        seen(enrollment=disabled(OLD, credentialPolicyName="p"), latest=a_version(NEW)),
        NeedsPerson,
        "credential policy",
    ),
    "goes back when the vault has a newer version": (
        seen(enrollment=DOOR, latest=a_version(NEW, "v3")),
        Back,
        "no longer the one to take",
    ),
    "goes back when the version was disabled": (
        seen(enrollment=DOOR, latest=a_version(NEW, enabled=False)),
        Back,
        "no longer the one to take",
    ),
}


@pytest.mark.parametrize("case", UPLOAD_CASES.values(), ids=UPLOAD_CASES.keys())
def test_upload_secondary_of_a_breach(case):
    check(UPLOAD, case)


@pytest.mark.parametrize(
    ("primary", "secondary", "slot"),
    [
        (OLD, None, Slot.PRIMARY),
        (NEW, None, Slot.SECONDARY),
        (None, NEW, Slot.PRIMARY),
        (NEW, NEW, Slot.SECONDARY),
        (NEW, EXPIRED, Slot.SECONDARY),
        (EXPIRED, NEW, Slot.PRIMARY),
        (NEW, STRANGER, None),
    ],
)
def test_the_replacement_takes_a_slot_where_nothing_valid_is_lost(primary, secondary, slot):
    assert slot_for_replacement(a_breach(UPLOAD), disabled(primary, secondary), NOW) is slot


# --- delete_primary ---------------------------------------------------------------------------------------------

DELETE = Step.DELETE_PRIMARY
DELETE_CASES: dict[str, Case] = {
    "clears the compromised slot": (seen(enrollment=disabled(OLD, NEW)), Act, "slot primary lets go"),
    "is done when no slot holds it": (seen(enrollment=disabled(NEW, NEW)), AlreadyDone, "no slot"),
    "goes back when the replacement was taken out": (seen(enrollment=disabled(OLD)), Back, "does not hold"),
    "stops when it would get in another way": (
        seen(enrollment=disabled(OLD, NEW), routes=(ROUTE,)),
        NeedsPerson,
        "group g1",
    ),
    "stops even when somebody took it out already": (
        seen(enrollment=disabled(NEW), routes=(ROUTE,)),
        NeedsPerson,
        "g1",
    ),
    "calls a person when the enrollment was deleted": (seen(), NeedsPerson, "was deleted"),
}


@pytest.mark.parametrize("case", DELETE_CASES.values(), ids=DELETE_CASES.keys())
def test_delete_primary_of_a_breach(case):
    check(DELETE, case)


def test_both_slots_are_cleared_of_what_is_compromised_and_the_replacement_stays():
    rollover = a_breach(DELETE, incident=an_incident(compromised=(as_outgoing(OLD), as_outgoing(STRANGER))))
    case = (seen(enrollment=disabled(STRANGER, NEW)), Act, "slot primary lets go")
    check_verdict(DELETE, case, rollover)


# --- enable_enrollment ------------------------------------------------------------------------------------------

ENABLE = Step.ENABLE_ENROLLMENT
ENABLE_CASES: dict[str, Case] = {
    "enables": (seen(enrollment=disabled(NEW)), Act, "is enabled"),
    "is done when it is enabled": (seen(enrollment=an_enrollment(NEW)), AlreadyDone, "is enabled"),
    "goes back when a compromised certificate is in a slot": (
        seen(enrollment=disabled(NEW, OLD)),
        Back,
        "holds a compromised",
    ),
    "goes back without the replacement": (seen(enrollment=disabled(STRANGER)), Back, "does not hold the replacement"),
    "lets the hub accept the replacement first": (
        seen(enrollment=disabled(NEW), identity=shut(OLD, OLD)),
        Act,
        "accepts the device again",
    ),
    "leaves an identity alone that somebody else disabled": (
        seen(enrollment=disabled(NEW), identity=an_identity(OLD, enabled=False, status_reason="lent")),
        Act,
        "the enrollment is enabled",
    ),
    "calls a person when the replacement has expired": (
        seen(now=NEW.not_after, enrollment=disabled(NEW)),
        NeedsPerson,
        "has expired",
    ),
}


@pytest.mark.parametrize("case", ENABLE_CASES.values(), ids=ENABLE_CASES.keys())
def test_enable_enrollment(case):
    check(ENABLE, case)


def test_an_enrollment_that_was_disabled_before_is_left_so():
    check(ENABLE, (seen(enrollment=disabled(NEW)), AlreadyDone, "left so"), incident=an_incident(was_enabled=False))


# --- invoke_reprovision_job (mode reprovision) ------------------------------------------------------------------

INVOKE = Step.INVOKE_REPROVISION_JOB
INVOKE_CASES: dict[str, Case] = {
    "asks the device": (seen(enrollment=an_enrollment(NEW), identity=an_identity(OLD)), Act, "is asked to register"),
    "is done when it registered": (seen(enrollment=CLEAN, identity=an_identity(OLD)), AlreadyDone, "registered again"),
    "is done when the hub accepts only the replacement": (
        seen(enrollment=an_enrollment(NEW), identity=an_identity(NEW)),
        AlreadyDone,
        "accepts no compromised",
    ),
    "waits for a job that runs": (
        seen(enrollment=an_enrollment(NEW), identity=an_identity(OLD), job=Job(False, "running")),
        Wait,
        "running",
    ),
}


@pytest.mark.parametrize("case", INVOKE_CASES.values(), ids=INVOKE_CASES.keys())
def test_invoke_reprovision_job_of_a_breach(case):
    check(INVOKE, case, mode=Mode.REPROVISION)


def test_a_device_that_does_not_register_within_an_hour_is_a_persons_matter():
    """A thief who holds the session can answer the job and do nothing; nobody must believe that it is contained."""
    rollover = a_breach(INVOKE, Mode.REPROVISION)
    what = seen(now=NOW + REPROVISION_LIMIT, enrollment=an_enrollment(NEW), identity=an_identity(OLD))
    found = verdict(INVOKE, what, rollover)
    assert isinstance(found, NeedsPerson)
    assert found.why.startswith("not contained")
    assert "mode remove" in found.next_step
    assert isinstance(verdict(INVOKE, what, replace(rollover, reopened_at=what.now)), Act)


# --- restore_twin -----------------------------------------------------------------------------------------------

RESTORE = Step.RESTORE_TWIN
KEPT, OTHER = Twin("", {"site": "Oslo"}, {"interval": 30}), Twin("t1", {}, {})
GONE = replace(removed(), twin=KEPT)
BACK = an_identity(NEW, NEW)
RESTORE_CASES: dict[str, Case] = {
    "waits for the device": (seen(enrollment=an_enrollment(NEW), removed=GONE), Wait, "not back yet"),
    "restores the twin of a device that registered": (
        seen(enrollment=CLEAN, identity=BACK, removed=GONE, twin=OTHER),
        Act,
        "are restored",
    ),
    "is done when the twin is as it was": (
        seen(enrollment=CLEAN, identity=BACK, removed=GONE, twin=replace(KEPT, etag="t9")),
        AlreadyDone,
        "that it had",
    ),
    "is done when the identity was kept and has a session": (
        seen(enrollment=an_enrollment(NEW), identity=an_identity(NEW, connected=True)),
        AlreadyDone,
        "no twin to put back",
    ),
    "goes back when somebody disabled the enrollment": (
        seen(enrollment=disabled(NEW), removed=GONE),
        Back,
        "disabled the enrollment again",
    ),
    "goes back when a slot holds a compromised certificate": (
        seen(enrollment=disabled(NEW, OLD), removed=GONE),
        Back,
        "a slot holds a compromised",
    ),
    "goes back to the hub when that accepts it again": (
        seen(enrollment=an_enrollment(NEW), identity=an_identity(OLD)),
        Back,
        "accepts a compromised certificate again",
    ),
    "goes back when somebody took the replacement out": (
        seen(enrollment=an_enrollment(STRANGER), removed=GONE),
        Back,
        "does not hold the replacement any more",
    ),
    "takes a newer version, for a device may fetch only the newest": (
        seen(enrollment=an_enrollment(NEW), removed=GONE, latest=a_version(FOLLOWING, "v3")),
        Back,
        "a newer version, v3, than v2",
    ),
    "does not take a newer version that is disabled": (
        seen(enrollment=an_enrollment(NEW), removed=GONE, latest=a_version(FOLLOWING, "v3", enabled=False)),
        Wait,
        "not back yet",
    ),
    "does not take a newer version that is compromised": (
        seen(enrollment=an_enrollment(NEW), removed=GONE, latest=a_version(OLD, "v3")),
        Wait,
        "not back yet",
    ),
    "does not take a newer version that has no place": (
        seen(enrollment=an_enrollment(NEW, STRANGER), removed=GONE, latest=a_version(FOLLOWING, "v3")),
        Wait,
        "not back yet",
    ),
    "waits for nothing newer when the device is back": (
        seen(enrollment=CLEAN, identity=BACK, removed=GONE, twin=OTHER, latest=a_version(FOLLOWING, "v3")),
        Act,
        "are restored",
    ),
}


@pytest.mark.parametrize("case", RESTORE_CASES.values(), ids=RESTORE_CASES.keys())
def test_restore_twin(case):
    check(RESTORE, case)


def test_mode_reprovision_waits_for_nothing_more_where_no_identity_was_removed():
    """It was contained by the device's own registration; only a breach before it may have left a twin to restore."""
    case = (seen(enrollment=an_enrollment(NEW), identity=an_identity(NEW)), AlreadyDone, "nothing is to be restored")
    check(RESTORE, case, mode=Mode.REPROVISION)
    waits = (seen(enrollment=an_enrollment(NEW), identity=an_identity(NEW), removed=GONE), Wait, "not back yet")
    check(RESTORE, waits, mode=Mode.REPROVISION)


def test_mode_reprovision_waits_for_the_device_where_somebody_deleted_its_identity():
    """It is not done while the hub has no identity that the device could connect by."""
    check(RESTORE, (seen(enrollment=an_enrollment(NEW)), Wait, "not back yet"), mode=Mode.REPROVISION)


def test_a_device_that_was_disabled_before_is_not_waited_for():
    case = (seen(enrollment=disabled(NEW), removed=GONE), NeedsPerson, "is left so")
    check(RESTORE, case, incident=an_incident(was_enabled=False))


# --- for all ----------------------------------------------------------------------------------------------------


def test_nothing_is_done_before_a_second_person_approved():
    incident = an_incident(approve_by=NOW + timedelta(hours=1))
    rollover = a_breach(Step.DISABLE_ENROLLMENT, incident=incident)
    what = seen(enrollment=an_enrollment(OLD))
    assert isinstance(verdict(Step.DISABLE_ENROLLMENT, what, rollover), Wait)
    late = replace(what, now=NOW + timedelta(hours=1))
    assert isinstance(verdict(Step.DISABLE_ENROLLMENT, late, rollover), Refuse)
    agreed = replace(rollover, incident=replace(incident, approved_by="Bob (oid-2)"))
    assert isinstance(verdict(Step.DISABLE_ENROLLMENT, what, agreed), Act)


def test_a_rest_ends_with_a_call_for_a_person_after_the_grace():
    rollover = a_breach(ISSUE, started_at=NOW - timedelta(days=7))
    found = verdict(ISSUE, seen(enrollment=DOOR), rollover)
    assert isinstance(found, NeedsPerson)
    assert "retry" in found.next_step


@pytest.mark.parametrize("mode", Mode)
def test_every_step_of_every_mode_has_a_decision(mode):
    """An observation of nothing at all is met with a verdict, never with an exception."""
    plan = Plan.BREACH_REPROVISION if mode is Mode.REPROVISION else Plan.BREACH
    for step in PLANS[plan]:
        assert verdict(step, Observation(now=NOW), a_breach(step, mode)).why


@pytest.mark.parametrize("outcome", [Outcome.PREEMPTED, Outcome.CANCELLED, Outcome.REFUSED])
def test_a_call_that_ended_before_a_second_person_agreed_reported_nothing(outcome):
    asked = an_incident(approve_by=NOW + timedelta(hours=1))
    ended = a_breach(Step.DISABLE_ENROLLMENT, incident=asked, outcome=outcome, ended_at=NOW)
    assert reported_compromised([ended]) == set()
    assert reported_compromised([replace(ended, outcome=None, ended_at=None)]) == {OLD.sha256_thumbprint}
    agreed = replace(ended, outcome=Outcome.PREEMPTED, incident=replace(asked, approved_by="Bob (oid-2)"))
    assert reported_compromised([agreed]) == {OLD.sha256_thumbprint}
