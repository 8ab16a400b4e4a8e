"""The steps at the device: every verdict of stage_hub_thumbprint, invoke_reprovision_job and delete_primary."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.plans import Step
from shared.rollover import Rollover
from shared.seen import Job
from shared.transitions import intend
from shared.verdict import Act, AlreadyDone, Back, NeedsPerson, Refuse, Wait
from tests.builders import (
    NEW,
    OLD,
    STRANGER,
    Case,
    a_rollover,
    an_enrollment,
    an_identity,
    check_verdict,
    seen,
    verdict,
)
from tests.certificates import NOW

STAGE, INVOKE, DELETE = Step.STAGE_HUB_THUMBPRINT, Step.INVOKE_REPROVISION_JOB, Step.DELETE_PRIMARY
LATER = NOW + timedelta(hours=1)
"""A registration at this time is one since the rollover began."""
AFTER_END = OLD.not_after + timedelta(minutes=1)


# --- stage_hub_thumbprint ---------------------------------------------------------------------------------------

BOTH = an_enrollment(OLD, NEW)
MOVED = an_enrollment(OLD, NEW, registered=LATER)
STAGE_CASES: dict[str, Case] = {
    "lets the hub accept both": (seen(enrollment=BOTH, identity=an_identity(OLD, OLD)), Act, "accept the outgoing and"),
    "lets the hub accept both where it holds a SHA-1": (
        seen(enrollment=BOTH, identity=an_identity(OLD.sha1_thumbprint, None)),
        Act,
        "accept the outgoing and",
    ),
    "lets the hub accept both where it holds none": (
        seen(enrollment=BOTH, identity=an_identity(None, None)),
        Act,
        "accept the outgoing and",
    ),
    "is done when the hub accepts both": (
        seen(enrollment=BOTH, identity=an_identity(OLD, NEW)),
        AlreadyDone,
        "accepts the incoming",
    ),
    "is done when the hub accepts the incoming one by SHA-1": (
        seen(enrollment=BOTH, identity=an_identity(OLD, NEW.sha1_thumbprint)),
        AlreadyDone,
        "accepts the incoming",
    ),
    "is done when the device moved by itself": (
        seen(enrollment=MOVED, identity=an_identity(NEW, NEW)),
        AlreadyDone,
        "is on the incoming certificate already",
    ),
    "is done when the device never connected to the hub": (seen(enrollment=BOTH), AlreadyDone, "no hub identity yet"),
    "is refused when the identity was changed to a key": (
        seen(enrollment=BOTH, identity=an_identity(None, None, authentication="sas")),
        Refuse,
        "authenticates by sas",
    ),
    "is refused when the hub accepts a stranger": (
        seen(enrollment=BOTH, identity=an_identity(OLD, STRANGER)),
        Refuse,
        STRANGER.sha256_thumbprint,
    ),
}


@pytest.mark.parametrize("case", STAGE_CASES.values(), ids=STAGE_CASES.keys())
def test_stage_hub_thumbprint(case):
    check_verdict(STAGE, case)


def test_a_superseded_certificate_at_the_hub_is_no_stranger():
    what = seen(enrollment=BOTH, identity=an_identity(OLD, STRANGER))
    check_verdict(STAGE, (what, Act, "accept"), a_rollover(STAGE, replaces=STRANGER.sha256_thumbprint))


# --- invoke_reprovision_job -------------------------------------------------------------------------------------

STAGED = an_identity(OLD, NEW)
INVOKE_CASES: dict[str, Case] = {
    "asks the device": (seen(enrollment=BOTH, identity=STAGED), Act, "asked to register again"),
    "is done when the device moved": (
        seen(enrollment=MOVED, identity=an_identity(NEW, NEW)),
        AlreadyDone,
        "through a registration",
    ),
    "waits for a device that never registered": (seen(enrollment=BOTH), Wait, "never registered"),
    "goes back when the hub no longer accepts the incoming certificate": (
        seen(enrollment=BOTH, identity=an_identity(OLD, OLD)),
        Back,
        "does not accept the incoming",
    ),
    "needs a person when somebody took the incoming certificate out": (
        seen(enrollment=an_enrollment(OLD, OLD), identity=STAGED),
        NeedsPerson,
        "took the incoming certificate out",
    ),
    "is refused when the incoming certificate expired first": (
        seen(now=NEW.not_after, enrollment=BOTH, identity=STAGED),
        Refuse,
        "expired before the device took it",
    ),
}


@pytest.mark.parametrize("case", INVOKE_CASES.values(), ids=INVOKE_CASES.keys())
def test_invoke_reprovision_job(case):
    check_verdict(INVOKE, case)


def asked(times: int = 1) -> Rollover:
    """The device was asked at NOW, for the n-th time."""
    return replace(intend(a_rollover(INVOKE), NOW), acts=times)


DONE_JOB, RUNNING_JOB = Job(True, "completed: 1 answered"), Job(False, "running")


def test_a_job_on_its_way_is_waited_for():
    what = seen(now=NOW + timedelta(hours=20), enrollment=BOTH, identity=STAGED, job=RUNNING_JOB)
    check_verdict(INVOKE, (what, Wait, "on its way (running)"), asked())


def test_a_job_that_ended_proves_nothing_and_the_device_is_given_time():
    what = seen(now=NOW + timedelta(minutes=4), enrollment=BOTH, identity=STAGED, job=DONE_JOB)
    check_verdict(INVOKE, (what, Wait, "has not registered with the incoming certificate yet"), asked())


@pytest.mark.parametrize(("times", "minutes"), [(1, 5), (2, 10), (3, 20), (8, 640), (9, 720), (30, 720)])
def test_the_device_is_asked_again_ever_more_rarely(times, minutes):
    """5 minutes after the first time, doubling, at most every 12 hours."""
    early = seen(now=NOW + timedelta(minutes=minutes, seconds=-1), enrollment=BOTH, identity=STAGED, job=DONE_JOB)
    assert isinstance(verdict(INVOKE, early, asked(times)), Wait)
    late = replace(early, now=NOW + timedelta(minutes=minutes))
    assert isinstance(verdict(INVOKE, late, asked(times)), Act)


def test_the_device_is_asked_again_at_once_when_the_job_was_never_made():
    """The host died, or the answer was lost, between the ledger and the hub."""
    what = seen(now=NOW + timedelta(minutes=2), enrollment=BOTH, identity=STAGED, job=None)
    assert isinstance(verdict(INVOKE, what, asked()), Act)


def test_asking_the_device_is_not_limited_in_number_but_in_time():
    what = seen(enrollment=BOTH, identity=STAGED)
    assert isinstance(verdict(INVOKE, what, a_rollover(INVOKE, acts=100)), Act)


ASKS = {
    "has not registered since the start": (an_enrollment(OLD, NEW, registered=NOW - timedelta(days=335)), False),
    "has never registered": (BOTH, False),
    "has registered since, and the hub cannot show with what": (MOVED, True),
}


@pytest.mark.parametrize(("enrollment", "again"), ASKS.values(), ids=ASKS.keys())
def test_a_device_is_told_whether_to_register_although_it_has_moved_when_it(enrollment, again):
    found = verdict(INVOKE, seen(enrollment=enrollment, identity=STAGED))
    assert isinstance(found, Act)
    assert found.ask == {"register_again": again}


# --- delete_primary ---------------------------------------------------------------------------------------------

ON_NEW = an_identity(NEW, NEW)
DELETE_CASES: dict[str, Case] = {
    "clears the slot once the device moved and the certificate expired": (
        seen(now=AFTER_END, enrollment=MOVED, identity=ON_NEW),
        Act,
        "slot primary lets go",
    ),
    "clears at the very end of the certificate": (
        seen(now=OLD.not_after, enrollment=MOVED, identity=ON_NEW),
        Act,
        "slot primary lets go",
    ),
    "clears the hub once the slots are clear": (
        seen(
            now=AFTER_END + timedelta(minutes=1),
            enrollment=an_enrollment(None, NEW, registered=AFTER_END),
            identity=STAGED,
        ),
        Act,
        "the hub identity lets go",
    ),
    "waits for the outgoing certificate's end": (
        seen(enrollment=MOVED, identity=ON_NEW),
        Wait,
        "on 2026-12-24 12:00:00Z",
    ),
    "is done when neither slot nor hub holds it": (
        seen(enrollment=an_enrollment(None, NEW), identity=ON_NEW),
        AlreadyDone,
        "neither the enrollment nor the hub",
    ),
    "is done when DPS repeats the incoming certificate in both slots": (
        seen(enrollment=an_enrollment(NEW, NEW), identity=ON_NEW),
        AlreadyDone,
        "neither",
    ),
    "is done when no slot holds it and the device has no identity": (
        seen(enrollment=an_enrollment(NEW, NEW)),
        AlreadyDone,
        "neither",
    ),
    "needs a person when somebody took the incoming certificate out": (
        seen(now=AFTER_END, enrollment=an_enrollment(OLD, OLD, registered=LATER), identity=ON_NEW),
        NeedsPerson,
        "took the incoming certificate out",
    ),
    "needs a person when the incoming certificate has expired too": (
        seen(now=NEW.not_after, enrollment=MOVED, identity=ON_NEW),
        NeedsPerson,
        "would lock the device out",
    ),
    "goes back when the device is on the outgoing certificate again": (
        seen(now=AFTER_END, enrollment=MOVED, identity=an_identity(OLD, OLD)),
        Back,
        "no longer seen on the incoming",
    ),
    "goes back when the identity is gone": (
        seen(now=AFTER_END, enrollment=MOVED),
        Back,
        "no longer seen on the incoming",
    ),
}


@pytest.mark.parametrize("case", DELETE_CASES.values(), ids=DELETE_CASES.keys())
def test_delete_primary(case):
    check_verdict(DELETE, case)


def test_the_outgoing_certificate_is_retired_at_once_when_the_team_wants_it_so():
    what = seen(enrollment=MOVED, identity=ON_NEW)
    check_verdict(DELETE, (what, Act, "slot primary"), retire_when_moved=True)


def test_the_outgoing_certificate_is_not_retired_before_the_device_moved_whatever_the_team_wants():
    what = seen(now=AFTER_END, enrollment=BOTH, identity=STAGED)
    check_verdict(DELETE, (what, Back, "no longer seen"), retire_when_moved=True)
