"""What holds for every step: what stops it, how long it waits, how often it acts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.plans import PLANS, Plan, Step
from shared.seen import Issuance, Observation
from shared.verdict import Act, Back, NeedsPerson, Refuse, Wait
from tests.builders import (
    NEW,
    OLD,
    a_rollover,
    a_version,
    an_enrollment,
    an_identity,
    as_incoming,
    check_verdict,
    seen,
    verdict,
)
from tests.certificates import NOW

ISSUE, UPLOAD, STAGE, INVOKE, DELETE = PLANS[Plan.EXPIRY]
LATER = NOW + timedelta(hours=1)
"""A registration at this time is one since the rollover began."""
AFTER_END = OLD.not_after + timedelta(minutes=1)
BOTH = an_enrollment(OLD, NEW)
MOVED = an_enrollment(OLD, NEW, registered=LATER)
STAGED = an_identity(OLD, NEW)
ON_NEW = an_identity(NEW, NEW)


# --- what holds for several steps -------------------------------------------------------------------------------

WITH_ENROLLMENT = [UPLOAD, STAGE, INVOKE, DELETE]


@pytest.mark.parametrize("step", WITH_ENROLLMENT)
def test_every_step_at_dps_is_refused_when_the_enrollment_is_gone(step):
    check_verdict(step, (seen(latest=a_version(NEW), identity=STAGED), Refuse, "no longer exists"))


@pytest.mark.parametrize("step", WITH_ENROLLMENT)
def test_every_step_at_dps_is_refused_when_the_certificates_are_not_ours_any_more(step):
    policy = an_enrollment(OLD, NEW, credentialPolicyName="fleet")
    other = an_enrollment(None, attestation={"type": "symmetricKey", "symmetricKey": {}})
    check_verdict(
        step, (seen(latest=a_version(NEW), enrollment=policy, identity=STAGED), Refuse, "credential policy 'fleet'")
    )
    check_verdict(
        step, (seen(latest=a_version(NEW), enrollment=other, identity=STAGED), Refuse, "attests by symmetricKey")
    )


@pytest.mark.parametrize("step", WITH_ENROLLMENT)
def test_every_step_at_dps_waits_while_the_enrollment_is_disabled(step):
    disabled = an_enrollment(OLD, NEW, provisioningStatus="disabled", registered=LATER)
    what = seen(now=AFTER_END, latest=a_version(NEW), enrollment=disabled, identity=ON_NEW)
    check_verdict(step, (what, Wait, "the enrollment is disabled"))


@pytest.mark.parametrize("step", WITH_ENROLLMENT)
def test_every_later_step_goes_back_to_the_first_when_no_incoming_certificate_is_chosen(step):
    what = seen(latest=a_version(NEW), enrollment=BOTH, identity=STAGED)
    found = verdict(step, what, a_rollover(step, incoming=None))
    assert isinstance(found, Back)
    assert found.to is ISSUE


ACTS: dict[Step, Observation] = {
    ISSUE: seen(latest=a_version(OLD, "v1")),
    UPLOAD: seen(latest=a_version(NEW), enrollment=an_enrollment(OLD)),
    STAGE: seen(enrollment=BOTH, identity=an_identity(OLD, OLD)),
    DELETE: seen(now=AFTER_END, enrollment=MOVED, identity=ON_NEW),
}


@pytest.mark.parametrize("step", ACTS)
def test_a_step_that_acts_without_effect_calls_a_person_in_the_end(step):
    assert isinstance(verdict(step, ACTS[step], a_rollover(step, acts=2), max_acts=3), Act)
    found = verdict(step, ACTS[step], a_rollover(step, acts=3), max_acts=3)
    assert isinstance(found, NeedsPerson)
    assert "acted 3 times" in found.why
    assert found.next_step


WAITS: dict[Step, Observation] = {
    ISSUE: seen(latest=a_version(OLD, "v1"), issuance=Issuance(True, True, None)),
    UPLOAD: seen(enrollment=an_enrollment(OLD, provisioningStatus="disabled")),
    STAGE: seen(enrollment=an_enrollment(OLD, provisioningStatus="disabled")),
    INVOKE: seen(enrollment=BOTH),
    DELETE: seen(enrollment=an_enrollment(OLD, NEW, provisioningStatus="disabled")),
}


@pytest.mark.parametrize("step", WAITS)
def test_no_step_waits_for_ever(step):
    """A wait ends at the latest a grace time after the outgoing certificate's end; then a person is told."""
    deadline = OLD.not_after + timedelta(days=7)
    last = verdict(step, replace(WAITS[step], now=deadline - timedelta(seconds=10)))
    assert isinstance(last, Wait)
    assert last.delay <= timedelta(seconds=10), "it looks again when the time is up"
    found = verdict(step, replace(WAITS[step], now=deadline))
    assert isinstance(found, NeedsPerson)
    assert last.why in found.why
    assert "7 days" in found.why


def test_a_rollover_that_began_after_the_outgoing_end_is_given_its_grace_from_the_start():
    late = OLD.not_after + timedelta(days=60)
    rollover = a_rollover(INVOKE, started_at=late)
    assert isinstance(verdict(INVOKE, seen(now=late + timedelta(days=6), enrollment=BOTH), rollover), Wait)
    assert isinstance(verdict(INVOKE, seen(now=late + timedelta(days=7), enrollment=BOTH), rollover), NeedsPerson)


@pytest.mark.parametrize(("waited", "delay"), [(0, 1), (1, 1), (10, 5), (600, 300), (86400, 1800)])
def test_waiting_begins_short_and_grows_to_half_an_hour(waited, delay):
    found = verdict(INVOKE, seen(now=NOW + timedelta(seconds=waited), enrollment=BOTH))
    assert isinstance(found, Wait)
    assert found.delay == timedelta(seconds=delay)


def test_a_certificate_that_only_looks_newer_by_its_version_is_judged_by_its_content():
    """Two versions may hold one certificate (an import of the same file)."""
    found = verdict(ISSUE, seen(latest=a_version(OLD, "v2")))
    assert isinstance(found, Act)


def test_the_incoming_certificate_is_compared_by_version_and_content():
    other = replace(as_incoming(NEW), version="v1")
    what = seen(latest=a_version(NEW, "v2"), enrollment=an_enrollment(OLD))
    assert isinstance(verdict(UPLOAD, what, a_rollover(UPLOAD, incoming=other)), Back)
