"""What nobody thought of, in a work on a fleet: it costs its batch, is named to a person, and holds up no others."""

import logging

import pytest

from shared.fleet import Work
from shared.fleet_work import SURPRISES
from shared.nudges import encode_nudge
from shared.poison import report
from shared.rollover import Outcome
from tests.fleet.kit import Fleet, a_fleet, names

BAD = "pump-000123"


class OddError(Exception):
    """Nobody catches it."""


def a_fleet_with_an_odd_device() -> Fleet:
    """Whoever deletes it meets a surprise; the host counts it as a failed invocation and goes on."""
    fleet = a_fleet(250)
    delete, deliver = fleet.world.hub.delete_many, fleet.host.deliver

    def odd(found):
        if BAD in [one.device_id for one in found]:
            raise OddError
        return delete(found)

    def invoked(*arguments):
        try:
            return deliver(*arguments)
        except OddError:
            return True  # the message comes back before the lease of the turn is over, and is ignored then

    fleet.world.hub.delete_many = odd
    fleet.host.deliver = invoked
    return fleet


def test_a_batch_that_fails_by_surprise_is_given_up_and_the_others_go_on(caplog):
    fleet = a_fleet_with_an_odd_device()
    fleet.begin()
    with caplog.at_level(logging.WARNING):
        progress = fleet.finish()
    assert not progress.complete
    assert progress.done >= 150
    assert len([record for record in caplog.records if record.message.startswith("poisoned ")]) == 1
    assert set(fleet.world.hub.identities) <= set(names(250)[100:200])


def test_a_turn_that_fails_now_and_then_is_tried_again():
    fleet = a_fleet(250)
    delete, left = fleet.world.hub.delete_many, [SURPRISES - 1]
    deliver = fleet.host.deliver

    def odd(found):
        if BAD in [one.device_id for one in found] and left[0]:
            left[0] -= 1
            raise OddError
        return delete(found)

    def invoked(*arguments):
        try:
            return deliver(*arguments)
        except OddError:
            return True

    fleet.world.hub.delete_many, fleet.host.deliver = odd, invoked
    fleet.begin()
    assert fleet.finish().complete


@pytest.mark.parametrize("about", ["{}/evict/1", "{}/evict"])
def test_a_poisoned_message_of_a_work_is_folded_back_into_its_rollover(about):
    """Its rows cannot be read: else the batch counts what went wrong by itself."""
    fleet = a_fleet(3)
    fleet.begin()
    message = encode_nudge(about.format(fleet.rollover.id)).encode()
    report(Work.EVICT.step, message, fleet.world.services)
    rollover = fleet.the_rollover()
    assert rollover.outcome is Outcome.NEEDS_PERSON
    assert about.format("").strip("/") in (rollover.outcome_reason or "")
    assert "exceptions of the function remove_hub_registration" in (rollover.next_action or "")


def test_a_poisoned_message_of_a_step_that_is_over_changes_nothing():
    fleet = a_fleet(3)
    fleet.begin()
    before = fleet.the_rollover()
    report(Work.RESTORE.step, encode_nudge(f"{before.id}/restore/0").encode(), fleet.world.services)
    assert fleet.the_rollover() == before
