"""What becomes of a look at one certificate of the vault: begun, hastened, left alone, or what is in the way."""

from datetime import timedelta

import pytest

from shared.certificate import parse_certificate
from shared.errors import ServiceRefused, ServiceUnavailable
from shared.plans import Step
from shared.rollover import Outcome
from shared.starting import TRY_AGAIN_AFTER, start_rollover
from shared.sweeping import sweep
from shared.tags import ENROLLMENT_TAG
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    NEWER,
    OLD,
    a_rollover,
    a_story,
    as_incoming,
    begin,
    deliver,
    device_moves,
    put_rollover,
    the_rollover,
)
from tests.certificates import NOW, a_certificate
from tests.fakes import Kept, World


def look(world: World, *, hint: bool = False) -> str:
    return start_rollover(CERTIFICATE, "sweep", world.services, hint=hint).what


def ids(world: World) -> list[str]:
    return [rollover.id for rollover in world.services.ledger.rollovers()]


def test_a_rollover_begins_with_everything_that_is_known_at_that_moment():
    world = a_story()
    begin(world)
    rollover = the_rollover(world)
    expected = a_rollover(
        cause="sweep (it has no tag rollover-enrollment, so its common name was tried as the registration ID)",
        head=rollover.head,
        etag=rollover.etag,
    )
    assert rollover == expected
    assert world.nudges.sent == [(Step.ISSUE_CERTIFICATE, rollover.id, timedelta(0))]
    assert world.topic.published == [(f"{rollover.id}/1", "Rollover.Started", DEVICE)]


def test_the_tag_says_which_enrollment_a_certificate_belongs_to():
    world = a_story()
    world.vault.kept[CERTIFICATE] = Kept([parse_certificate(a_certificate("pump 7 of site 3").der)])
    assert look(world) == "cannot"
    world.vault.kept[CERTIFICATE] = Kept([OLD], tags={ENROLLMENT_TAG: f" {DEVICE} "})
    assert look(world) == "begun"
    assert "its tag rollover-enrollment says so" in the_rollover(world).cause


def test_the_device_id_of_the_registration_counts_where_it_differs():
    """A custom allocation may give the device another ID than the enrollment names (azure-docs concepts-custom)."""
    world = a_story()
    world.dps.registrations[DEVICE]["deviceId"] = "pump-7"
    begin(world)
    assert the_rollover(world).device_id == "pump-7"


OBSTACLES = {
    "the vault has no such certificate": (lambda w: w.vault.kept.clear(), "the vault holds no certificate"),
    "it has neither tag nor common name": (
        lambda w: w.vault.kept.update({CERTIFICATE: Kept([parse_certificate(a_certificate(None).der)])}),
        "neither a tag rollover-enrollment nor a common name",
    ),
    "DPS has no such enrollment": (lambda w: w.dps.enrolled.clear(), "no individual enrollment 'dev-01'"),
    "the enrollment is not ours to roll": (
        lambda w: w.dps.edit(DEVICE, lambda body: body.update(credentialPolicyName="fleet")),
        "credential policy",
    ),
}


@pytest.mark.parametrize(("change", "said"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_is_in_the_way_is_said_in_the_ledger_and_once_on_the_topic_when(change, said):
    world = a_story()
    change(world)
    for _ in range(3):
        assert look(world) == "cannot"
        world.clock.advance(timedelta(hours=1))
    [refused] = world.services.ledger.refused_inputs()
    assert said in refused.reason
    assert (refused.count, refused.announced) == (3, True)
    assert world.topic.kinds() == ["Rollover.CannotBegin"]
    assert ids(world) == []


def test_what_is_in_the_way_is_published_later_when_the_topic_is_down():
    world = a_story()
    world.dps.enrolled.clear()
    world.topic.down = True
    look(world)
    world.topic.down = False
    look(world)
    look(world)
    assert world.topic.kinds() == ["Rollover.CannotBegin"]


# --- once and only once -----------------------------------------------------------------------------------------


def test_an_open_rollover_is_left_alone_by_the_sweep():
    world = a_story()
    begin(world)
    world.nudges.sent.clear()
    assert look(world) == "open"
    assert world.nudges.sent == []
    assert len(ids(world)) == 1


def test_two_that_begin_at_once_begin_once():
    world = a_story()
    commit = world.table.commit

    def overtaken(writes):
        if writes[0].row["PartitionKey"] == "devices":
            return commit(writes)
        world.table.commit = commit
        begin(world, "event CertificateNearExpiry")
        return commit(writes)

    world.table.commit = overtaken
    assert look(world) == "nudged"
    assert the_rollover(world).cause.startswith("event")
    assert len(ids(world)) == 1


def test_an_event_hastens_a_rollover_that_waits():
    world = a_story()
    begin(world)
    world.vault.issues = lambda _: None
    waits = deliver(world, Step.ISSUE_CERTIFICATE, effect=down_for(timedelta(minutes=9)))
    assert waits.due_at == NOW + timedelta(minutes=9)
    world.nudges.sent.clear()
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    assert look(world, hint=True) == "nudged"
    assert world.nudges.sent == [(Step.ISSUE_CERTIFICATE, waits.id, timedelta(0))]
    assert deliver(world, Step.ISSUE_CERTIFICATE).next_step is Step.UPLOAD_SECONDARY


def down_for(delay: timedelta):
    def down(*_):
        raise ServiceUnavailable("down", delay)

    return down


def test_an_event_does_not_cut_short_the_lease_of_a_step_that_is_acting():
    world = a_story()
    begin(world)

    def die(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(world, Step.ISSUE_CERTIFICATE, effect=die)
    before = the_rollover(world)
    look(world, hint=True)
    assert the_rollover(world) == before


# --- what ended -------------------------------------------------------------------------------------------------


def a_world_with_a_refused_rollover() -> World:
    """Refused because the vault's new version is disabled."""
    world = a_story()
    begin(world)
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    world.vault.kept[CERTIFICATE].enabled = False
    assert deliver(world, Step.ISSUE_CERTIFICATE).status == "refused"
    world.vault.kept[CERTIFICATE].enabled = True
    return world


def test_a_refused_rollover_is_not_begun_again_the_same_day():
    world = a_world_with_a_refused_rollover()
    world.clock.advance(TRY_AGAIN_AFTER - timedelta(seconds=1))
    assert look(world) == "nothing"
    assert look(world, hint=True) == "nothing"
    assert len(ids(world)) == 1


def test_a_refused_rollover_is_begun_again_a_day_later():
    world = a_world_with_a_refused_rollover()
    world.clock.advance(TRY_AGAIN_AFTER)
    assert look(world) == "begun"
    assert ids(world) == ["individual.dev-01.1", "individual.dev-01.2"]


def test_a_new_version_begins_a_refused_rollover_again_at_once():
    world = a_world_with_a_refused_rollover()
    world.vault.kept[CERTIFICATE].versions.append(NEWER)
    assert look(world) == "begun"
    assert len(ids(world)) == 2


def test_a_rollover_that_needed_a_person_before_any_version_came_is_begun_again_by_the_version():
    world = a_story()
    begin(world)

    def refuse(*_):
        raise ServiceRefused("Key Vault answered 400: bad policy")

    assert deliver(world, Step.ISSUE_CERTIFICATE, effect=refuse).status == "needs_person"
    assert look(world) == "nothing"
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    assert look(world) == "begun"


def test_an_outgoing_certificate_that_somebody_puts_back_is_retired_again_at_once():
    """A rollover that is done is no reason to wait: the world was changed since."""
    world = a_story(retire_when_moved=True)
    put_rollover(world, Step.DELETE_PRIMARY)
    world.clock.advance(timedelta(minutes=1))
    device_moves(world)
    assert deliver(world, Step.DELETE_PRIMARY).status == "done"
    assert look(world) == "nothing"
    world.dps.enroll(DEVICE, OLD, NEW)
    assert look(world) == "begun"
    assert the_rollover(world).outgoing.sha256_thumbprint == OLD.sha256_thumbprint


def test_a_certificate_in_use_that_expired_is_rolled_although_an_expired_stranger_stands_by():
    """Retiring the stranger first would need the certificate in use to be a good successor, which it no longer is:
    such a rollover would be refused every day and nothing would ever be issued."""
    stranger = parse_certificate(a_certificate(starts=NOW - timedelta(days=900), ends=NOW - timedelta(days=400)).der)
    world = a_story()
    world.dps.enroll(DEVICE, stranger, OLD)
    world.clock.time = OLD.not_after + timedelta(days=2)
    begin(world)
    assert the_rollover(world).outgoing.sha256_thumbprint == OLD.sha256_thumbprint
    after = deliver(world, Step.ISSUE_CERTIFICATE)
    assert after.outcome_reason is None
    assert world.vault.asked == 1


def _waits_for_the_end_of_the_outgoing_certificate() -> World:
    """The device has moved; the outgoing certificate lives for a long time, and the step looks no sooner."""
    world = a_story()
    put_rollover(world, Step.DELETE_PRIMARY, incoming=as_incoming(NEW))
    device_moves(world)
    assert deliver(world, Step.DELETE_PRIMARY).due_at - world.clock.time > timedelta(days=1)
    world.nudges.sent.clear()
    return world


def test_a_sweep_leaves_a_rollover_alone_that_waits_for_the_end_of_the_outgoing_certificate():
    world = _waits_for_the_end_of_the_outgoing_certificate()
    assert sweep(world.services) == {"open": 1}
    assert world.nudges.sent == []


def test_an_enrollment_that_is_deleted_in_that_long_wait_is_told_by_the_next_sweep():
    world = _waits_for_the_end_of_the_outgoing_certificate()
    del world.dps.enrolled[DEVICE]
    assert sweep(world.services) == {"cannot": 1}
    [told] = world.services.ledger.refused_inputs()
    assert "no individual enrollment 'dev-01'" in told.reason


def test_an_incoming_certificate_that_is_taken_out_in_that_long_wait_calls_a_person_at_the_next_sweep():
    world = _waits_for_the_end_of_the_outgoing_certificate()
    world.dps.enroll(DEVICE, OLD)
    assert sweep(world.services) == {"nudged": 1}
    assert deliver(world, Step.DELETE_PRIMARY).outcome is Outcome.NEEDS_PERSON
