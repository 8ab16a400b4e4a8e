"""Whether the cloud shows that the device moved to the incoming certificate. The device's word never counts.

The doubt is about what a registration writes to the hub identity: the presented thumbprint twice
(azure-iot-sdk-java#1220, iotedge#2951), the enrollment's two certificates, or, with the reprovision policy
"never", perhaps nothing. In each case a move that did not happen must not be seen, and one that did must be seen
in the end.
"""

from datetime import datetime, timedelta

import pytest

from shared.decide_expiry import has_moved
from shared.enrollment import HubIdentity
from shared.plans import Step
from tests.builders import NEW, OLD, STRANGER, a_rollover, an_enrollment, an_identity
from tests.certificates import NOW

BASELINE = NOW - timedelta(days=335)
LATER = NOW + timedelta(hours=1)
AFTER_END = OLD.not_after + timedelta(seconds=1)

CASES: dict[str, tuple[HubIdentity | None, datetime | None, bool]] = {
    "nothing happened yet": (an_identity(OLD, OLD), BASELINE, False),
    "the hub was staged and the device has not registered": (an_identity(OLD, NEW), BASELINE, False),
    "the device registered again with the outgoing certificate": (an_identity(OLD, OLD), LATER, False),
    "the device registered and DPS wrote the incoming thumbprint twice": (an_identity(NEW, NEW), LATER, True),
    "the device registered and DPS wrote it into primary only": (an_identity(NEW, None), LATER, True),
    "the device registered and DPS wrote the enrollment's two certificates": (an_identity(OLD, NEW), LATER, False),
    "the same, the other way around": (an_identity(NEW, OLD), LATER, False),
    "both are accepted and a registration is later than the outgoing one's end": (
        an_identity(OLD, NEW),
        AFTER_END,
        True,
    ),
    "both are accepted and a registration is at the outgoing one's very end": (
        an_identity(OLD, NEW),
        OLD.not_after,
        False,
    ),
    "the hub holds the outgoing one by SHA-1 beside the incoming one": (
        an_identity(OLD.sha1_thumbprint, NEW),
        LATER,
        False,
    ),
    "somebody put the incoming one into the hub by hand and the device has not registered": (
        an_identity(NEW, NEW),
        BASELINE,
        False,
    ),
    "the same with a device that has never registered": (an_identity(NEW, NEW), None, False),
    "somebody put another certificate into the hub and the device registered": (
        an_identity(STRANGER, STRANGER),
        LATER,
        False,
    ),
    "the incoming one beside a stranger, and a registration": (an_identity(STRANGER, NEW), LATER, True),
    "the hub identity is gone": (None, LATER, False),
    "the hub accepts nothing": (an_identity(None, None), LATER, False),
}


@pytest.mark.parametrize(("identity", "registered", "moved"), CASES.values(), ids=CASES.keys())
def test_a_move_is_seen_or_not_when(identity, registered, moved):
    rollover = a_rollover(Step.INVOKE_REPROVISION_JOB, baseline=BASELINE)
    assert has_moved(rollover, an_enrollment(OLD, NEW, registered=registered).registration, identity) is moved


def test_a_registration_at_the_very_time_of_the_baseline_is_the_one_from_before():
    rollover = a_rollover(Step.INVOKE_REPROVISION_JOB, baseline=LATER)
    assert not has_moved(rollover, an_enrollment(OLD, NEW, registered=LATER).registration, an_identity(NEW, NEW))


def test_any_registration_is_one_since_the_start_for_a_device_that_had_never_registered():
    rollover = a_rollover(Step.INVOKE_REPROVISION_JOB, baseline=None)
    assert has_moved(rollover, an_enrollment(OLD, NEW, registered=LATER).registration, an_identity(NEW, NEW))


AT_START = {
    "and only it is shown": (an_identity(NEW, NEW), True),
    "and the outgoing one came back": (an_identity(OLD, NEW), False),
    "and only the outgoing one is shown now": (an_identity(OLD, OLD), False),
    "and the identity is gone": (None, False),
}


@pytest.mark.parametrize(("identity", "moved"), AT_START.values(), ids=AT_START.keys())
def test_a_device_that_was_on_the_incoming_certificate_at_the_start_needs_no_registration(identity, moved):
    rollover = a_rollover(Step.INVOKE_REPROVISION_JOB, baseline=BASELINE, on_incoming_at_start=True)
    assert has_moved(rollover, an_enrollment(OLD, NEW, registered=BASELINE).registration, identity) is moved


def test_nothing_moved_to_a_certificate_that_is_not_chosen():
    rollover = a_rollover(Step.INVOKE_REPROVISION_JOB, incoming=None, on_incoming_at_start=True)
    assert not has_moved(rollover, an_enrollment(OLD, NEW, registered=LATER).registration, an_identity(NEW, NEW))
