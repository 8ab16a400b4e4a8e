"""The step issue_certificate, carried out: the vault holds a newer version."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import BadInput, Conflict, ServiceRefused, ServiceUnavailable
from shared.incident import Incident, Mode
from shared.issuing import issued_by
from shared.own_ca import sign_request
from shared.plans import PLANS, Plan, Step
from shared.rollover import ACT_LEASE
from shared.seen import Issuance
from tests.builders import (
    CERTIFICATE,
    DEVICE,
    NEW,
    OLD,
    a_story,
    as_incoming,
    as_outgoing,
    deliver,
    put_rollover,
    reasons,
)
from tests.fakes import World
from tests.own_ca import ISSUING, LEAF, keep, made, p256, set_up

STEP = Step.ISSUE_CERTIFICATE


def a_world_at_this_step(**settings) -> World:
    world = a_story(**settings)
    put_rollover(world, STEP)
    return world


def test_the_vault_is_asked_for_a_version_and_the_next_step_is_nudged():
    world = a_world_at_this_step()
    after = deliver(world, STEP)
    assert world.vault.asked == 1
    assert after.incoming == as_incoming(NEW)
    assert [(step, delay) for step, _, delay in world.nudges.sent] == [(Step.UPLOAD_SECONDARY, timedelta(0))]


def test_what_was_intended_is_in_the_history_before_what_came_of_it():
    world = a_world_at_this_step()
    deliver(world, STEP)
    assert [what for what, _ in reasons(world)] == ["started", "acts", "done"]


def test_nothing_is_asked_when_the_vault_renewed_by_itself():
    world = a_world_at_this_step()
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    after = deliver(world, STEP)
    assert world.vault.asked == 0
    assert after.next_step is Step.UPLOAD_SECONDARY


def test_a_version_that_takes_its_time_is_waited_for():
    world = a_world_at_this_step()
    world.vault.issues = lambda name: _pending(world, name)
    after = deliver(world, STEP)
    assert after.status == "waiting"
    assert after.waiting_for == "the vault is issuing the new version"
    assert world.nudges.sent == [(STEP, after.id, timedelta(seconds=2))]


def _pending(world: World, name: str) -> None:
    world.vault.kept[name].pending = Issuance(in_progress=True, needs_signing=False, error=None)


def test_waiting_for_the_same_thing_is_recorded_once():
    world = a_world_at_this_step()
    world.vault.issues = lambda name: _pending(world, name)
    for _ in range(4):
        deliver(world, STEP)
        world.clock.advance(timedelta(seconds=2))
    assert [what for what, _ in reasons(world)] == ["started", "acts", "waits"]
    assert world.vault.asked == 1


def test_a_version_that_comes_at_last_is_taken():
    world = a_world_at_this_step()
    world.vault.issues = lambda name: _pending(world, name)
    deliver(world, STEP)
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    world.clock.advance(timedelta(seconds=2))
    assert deliver(world, STEP).incoming == as_incoming(NEW)


def test_a_version_that_cannot_take_over_ends_the_rollover_and_names_the_version():
    world = a_world_at_this_step()
    world.vault.kept[CERTIFICATE].enabled = False
    world.vault.kept[CERTIFICATE].versions.append(NEW)
    after = deliver(world, STEP)
    assert after.status == "refused"
    assert "version v2" in after.outcome_reason
    assert after.incoming == as_incoming(NEW)
    assert OLD.sha256_thumbprint in world.dps.slots("dev-01")


def test_an_issuance_that_somebody_else_began_is_met_not_repeated():
    """The vault answers 409 while one is in progress."""
    world = a_world_at_this_step()

    def busy(*_):
        _pending(world, CERTIFICATE)
        raise Conflict("409")

    assert deliver(world, STEP, effect=busy).waiting_for == "the vault is issuing the new version"


REFUSED = {
    "the service refuses": ServiceRefused("Key Vault answered 403 to POST certificate: no role"),
    "the certificate has no policy": BadInput("the vault's certificate has no policy to issue a new version by"),
}


@pytest.mark.parametrize("error", REFUSED.values(), ids=REFUSED.keys())
def test_a_person_is_needed_and_told_the_words_when(error):
    world = a_world_at_this_step()

    def refuse(*_):
        raise error

    after = deliver(world, STEP, effect=refuse)
    assert after.status == "needs_person"
    assert after.outcome_reason == str(error)
    assert after.next_action


def test_a_vault_that_is_down_while_it_is_asked_is_waited_for_as_long_as_it_says():
    world = a_world_at_this_step()

    def down(*_):
        raise ServiceUnavailable("Key Vault answered 429", timedelta(seconds=42))

    after = deliver(world, STEP, effect=down)
    assert (after.status, after.waiting_for) == ("waiting", "Key Vault answered 429")
    assert world.nudges.sent == [(STEP, after.id, timedelta(seconds=42))]


def test_an_answer_that_was_lost_is_found_by_the_second_look():
    world = a_world_at_this_step()

    def lost(*_):
        world.vault.issue(CERTIFICATE)
        raise ServiceUnavailable("no answer")

    assert deliver(world, STEP, effect=lost).incoming == as_incoming(NEW)


def test_a_host_that_dies_after_the_vault_issued_costs_the_lease_and_nothing_else():
    world = a_world_at_this_step()

    def die(*_):
        world.vault.issue(CERTIFICATE)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(world, STEP, effect=die)
    deliver(world, STEP)
    assert world.nudges.sent == [], "a nudge before the lease is over is ignored"
    world.clock.advance(ACT_LEASE)
    assert deliver(world, STEP).incoming == as_incoming(NEW)
    assert world.vault.asked == 1


# --- a CA in the vault signs ------------------------------------------------------------------------------------


def a_world_with_own_ca() -> World:
    """The device's certificate was issued by a CA in the vault, and its tag says by which."""
    world = a_world_at_this_step()
    set_up(world)
    leaf = world.vault.kept.pop(LEAF)
    world.vault.kept[CERTIFICATE] = replace(leaf, versions=[OLD])
    return world


def test_the_vaults_request_is_signed_and_merged_where_a_tag_names_the_ca():
    world = a_world_with_own_ca()
    assert deliver(world, STEP).next_step is STEP
    assert world.vault.kept[CERTIFICATE].waiting is not None, "one act at a time: the request waits"
    after = deliver(world, STEP)
    new = world.vault.kept[CERTIFICATE].versions[-1]
    assert (after.next_step, after.incoming) == (Step.UPLOAD_SECONDARY, as_incoming(new))
    assert issued_by(new, world.vault.kept[ISSUING].versions[-1])
    assert [what for what, _ in reasons(world)] == ["started", "acts", "goes on", "acts", "done"]
    assert "'issuing-ca', and merged" in reasons(world)[3][1]


def test_without_a_tag_a_person_signs():
    world = a_world_with_own_ca()
    world.vault.kept[CERTIFICATE].tags = {}
    deliver(world, STEP)
    after = deliver(world, STEP)
    assert after.waiting_for == "the vault's signing request waits to be signed and merged"


def test_what_the_ca_must_not_issue_calls_a_person_with_the_reason():
    world = a_world_with_own_ca()
    world.vault.kept[ISSUING].enabled = False
    deliver(world, STEP)
    after = deliver(world, STEP)
    assert after.status == "needs_person"
    assert "the issuer is disabled in the vault" in str(after.outcome_reason)


def test_a_host_that_dies_after_the_merge_is_not_missed():
    world = a_world_with_own_ca()
    deliver(world, STEP)
    sign_request(CERTIFICATE, ISSUING, world.services, common_name=DEVICE)
    assert deliver(world, STEP).next_step is Step.UPLOAD_SECONDARY
    assert len(world.vault.kept[CERTIFICATE].versions) == 2


def test_a_compromised_version_need_not_be_outlived():
    """What the CA issues ends before it; it is good for nothing any more, and the device waits."""
    world = a_story()
    set_up(world)
    leaf, key = world.vault.kept.pop(LEAF), p256()
    world.vault.kept[CERTIFICATE] = replace(leaf, versions=[OLD])
    keep(world, ISSUING, made("Issuing CA", key, ends=OLD.not_after - timedelta(days=9)), key, new=p256)
    world.dps.edit(DEVICE, lambda body: body.update(provisioningStatus="disabled"))
    world.hub.identities.clear()
    incident = Incident("incident-1", Mode.REMOVE, "stolen", "oncall", "id-of-oncall", (as_outgoing(OLD),))
    put_rollover(world, STEP, plan=Plan.BREACH, incident=incident, done=PLANS[Plan.BREACH][:3])
    deliver(world, STEP)
    after = deliver(world, STEP)
    assert after.next_step is Step.UPLOAD_SECONDARY, after.outcome_reason
    assert issued_by(world.vault.kept[CERTIFICATE].versions[-1], world.vault.kept[ISSUING].versions[-1])
