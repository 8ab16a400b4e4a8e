"""Mode reprovision at the hub: what DPS did not replace is replaced with nobody connected."""

from datetime import timedelta

from shared.incident import Incident, Mode
from shared.plans import PLANS, Plan, Step
from shared.rollover import Rollover
from shared.verdict import Act, NeedsPerson, Wait
from tests.builders import (
    DEVICE,
    NEW,
    OLD,
    a_registration,
    a_rollover,
    an_enrollment,
    an_identity,
    as_incoming,
    as_outgoing,
    seen,
    verdict,
)
from tests.certificates import NOW

STEP = Step.REMOVE_HUB_REGISTRATION
INCIDENT = Incident("incident-1", Mode.REPROVISION, "stolen", "Ada", "oid-1", (as_outgoing(OLD),))
BACK = an_enrollment(NEW, registrationState=a_registration(NOW - timedelta(seconds=20)))
"""The device registered with the replacement, which is all that DPS admits."""


def at_the_hub(**changes: object) -> Rollover:
    order = PLANS[Plan.BREACH_REPROVISION]
    facts = {"plan": Plan.BREACH_REPROVISION, "incident": INCIDENT, "incoming": as_incoming(NEW)}
    done = order[: order.index(STEP)]
    return a_rollover(**{**facts, "done": done, "baseline": NOW - timedelta(days=1), **changes})  # type: ignore[arg-type]


def decided(identity: object, **changes: object) -> object:
    return verdict(STEP, seen(enrollment=BACK, identity=identity), at_the_hub(**changes))


def test_an_identity_that_still_accepts_it_is_disabled_before_it_is_replaced() -> None:
    """A thief who connected after the device registered has a session that looks like the device's."""
    thief = an_identity(OLD, OLD, connected=True, connection_changed=NOW - timedelta(seconds=1))
    for identity in (thief, an_identity(OLD, OLD)):
        found = decided(identity)
        assert isinstance(found, Act)
        assert found.ask == {"do": "disable"}


def disabled(*thumbprints: object, **fields: object) -> object:
    return an_identity(*thumbprints, enabled=False, status_reason=INCIDENT.mark, **fields)  # type: ignore[arg-type]


def test_it_is_replaced_and_enabled_only_when_no_session_is_left() -> None:
    assert isinstance(decided(disabled(OLD, OLD, connected=True)), Wait)
    found = decided(disabled(OLD, OLD))
    assert isinstance(found, Act)
    assert found.ask == {"do": "replace"}


def test_it_stays_disabled_and_a_person_is_told_when_the_session_does_not_end() -> None:
    """Enabled again it would be taken for the device's."""
    why = f"the hub has not ended the session of the disabled identity {DEVICE} yet"
    waiting = {"waiting_for": why, "waiting_since": NOW - timedelta(minutes=11)}
    assert isinstance(decided(disabled(NEW, NEW, connected=True), **waiting), NeedsPerson)


def test_an_identity_that_was_replaced_by_the_registration_is_only_enabled_again() -> None:
    found = decided(disabled(NEW, NEW))
    assert isinstance(found, Act)
    assert found.ask == {"do": "enable"}


def test_an_identity_is_not_enabled_while_a_session_from_before_lives_on() -> None:
    """Another breach had disabled it; enabled again, the session would not be ended."""
    rollover = at_the_hub(done=PLANS[Plan.BREACH_REPROVISION][:4])
    shut = an_enrollment(NEW, provisioningStatus="disabled")
    for session, kind in ((True, Wait), (False, Act)):
        identity = an_identity(OLD, OLD, enabled=False, status_reason="contained by incident-0", connected=session)
        assert isinstance(verdict(Step.ENABLE_ENROLLMENT, seen(enrollment=shut, identity=identity), rollover), kind)
