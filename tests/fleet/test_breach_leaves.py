"""After the breach of a group's CA that is in the vault, its devices get certificates under the new one."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.breaching import confirm, preview
from shared.callers import Role
from shared.certificate import parse_certificate
from shared.errors import NotAllowed, ServiceUnavailable
from shared.fleet import FleetProgress, Work
from shared.issuing import issued_by
from shared.operating import retry
from shared.plans import Step
from shared.rollover import Outcome, Rollover
from shared.tags import LEAVES_TAG
from tests.certificates import NOW, a_ca
from tests.fakes import Kept, World, somebody
from tests.fleet.kit import Host, names, thumbprint
from tests.fleet.test_whole_breach import come_back, put_on, restored, until
from tests.group_story import CERTIFICATE, GROUP, LATER, THE_ROOT, a_group_story, reasons, the_rollover, trusted
from tests.own_ca import keep, made, p256

pytestmark = pytest.mark.usefixtures("quiet")
ONCALL = somebody("oncall", Role.BREACH_EXECUTE)
_OLD, _NEW = a_ca("Line CA", THE_ROOT), a_ca("Line CA", THE_ROOT, **LATER)
OLD, NEW = parse_certificate(_OLD.der), parse_certificate(_NEW.der)
HOUR = timedelta(hours=1)


def a_group_of_the_vault(count: int, ours: int | None = None) -> World:
    """The first ``ours`` devices have their certificates in the vault, issued by the group's CA there."""
    world = a_group_story()
    put_on(world, names(count))
    world.dps.enroll_group(GROUP, OLD)
    keys = {OLD.sha256_thumbprint: _OLD.key, NEW.sha256_thumbprint: _NEW.key}
    world.vault.kept[CERTIFICATE] = Kept([OLD], {"rollover-group": GROUP, LEAVES_TAG: "leaf-*"}, keys=keys)
    world.vault.issues = lambda _: NEW
    for name in names(count)[:ours]:
        key = p256()
        leaf = made(name, key, by=(OLD, _OLD.key), ca=False, ends=NOW + timedelta(days=20))
        keep(world, f"leaf-{name}", leaf, key, ca=CERTIFICATE, new=p256)
    return world


def breach(world: World, **more: Any) -> Host:
    host = Host(world, whole=True)
    asked = {"enrollment_group": GROUP, "reason": "the CA's key was copied", **more}
    token = preview(asked, ONCALL, world.services)["confirm_token"]
    confirm({"confirm": token, "break_glass": "nobody else is up"}, ONCALL, world.services)
    return host


def leaves(world: World) -> FleetProgress | None:
    return world.services.fleet.progress(the_rollover(world), Work.LEAVES)


def with_new_leaf(world: World) -> set[str]:
    """Whose latest certificate in the vault the new CA issued."""
    latest = {name: kept.versions[-1] for name, kept in world.vault.kept.items() if name.startswith("leaf-")}
    return {name.removeprefix("leaf-") for name, one in latest.items() if issued_by(one, NEW)}


def versions(world: World) -> set[int]:
    """How many versions the devices' certificates have."""
    return {len(kept.versions) for name, kept in world.vault.kept.items() if name.startswith("leaf-")}


def before_each_merge(world: World, look: Callable[[str], None]) -> None:
    merge = world.vault.merge

    def looked(name: str, chain: Any) -> None:
        look(name)
        merge(name, chain)

    world.vault.merge = looked  # type: ignore[method-assign]


def all_issued(world: World, host: Host) -> None:
    host.run(lambda: (found := leaves(world)) is not None and found.complete, 2 * HOUR)


def test_every_leaf_is_issued_by_the_new_ca_once_the_group_trusts_that_and_lets_the_devices_back_in() -> None:
    world = a_group_of_the_vault(70)
    moments: list[datetime] = []

    def look(name: str) -> None:
        group = world.dps.group(GROUP)
        assert group is not None
        assert group.enabled
        assert set(trusted(world).values()) - {None} == {NEW.sha256_thumbprint}, f"too early for {name}"
        moments.append(world.clock())

    before_each_merge(world, look)
    host = breach(world)
    all_issued(world, host)
    assert with_new_leaf(world) == set(names(70))
    assert versions(world) == {2}, "one leaf each"
    assert max(sum(0 <= (one - at).total_seconds() < 10 for one in moments) for at in moments) <= 20
    come_back(world, with_new_leaf(world))
    assert until(world, host, None, HOUR).outcome is Outcome.DONE, reasons(world)
    assert restored(world) == set(names(70))


def test_who_was_left_at_the_hub_gets_a_leaf_too_even_when_all_else_is_done() -> None:
    """Of a theft that nobody registered since, no identity has to leave; but none could register any more."""
    world = a_group_of_the_vault(5)
    world.clock.advance(HOUR)
    since = world.clock()
    world.clock.advance(HOUR)

    def look(name: str) -> None:
        if the_rollover(world).outcome is None:
            raise ServiceUnavailable(f"429 for {name}", timedelta(seconds=2))

    before_each_merge(world, look)
    host = breach(world, compromised_since=since.isoformat(), leaf_keys_safe=True)
    host.run(lambda: the_rollover(world).outcome is not None, HOUR)
    assert the_rollover(world).outcome is Outcome.DONE, reasons(world)
    assert set(world.hub.identities) == set(names(5))
    assert not with_new_leaf(world)
    all_issued(world, host)
    assert with_new_leaf(world) == set(names(5))
    assert versions(world) == {2}


def test_the_preview_says_who_issues_the_new_certificates() -> None:
    world = a_group_of_the_vault(2)
    shown = preview({"enrollment_group": GROUP, "reason": "copied"}, ONCALL, world.services)
    assert "where that has one called 'leaf-*'" in shown["targets"][0]["loses"][0]


def test_who_has_no_certificate_in_the_vault_gets_his_elsewhere() -> None:
    world = a_group_of_the_vault(6, 2)
    host = breach(world)
    all_issued(world, host)
    assert with_new_leaf(world) == set(names(2))
    come_back(world, names(6))
    assert until(world, host, None, HOUR).outcome is Outcome.DONE, reasons(world)


def test_without_the_tag_there_is_no_such_work() -> None:
    world = a_group_of_the_vault(3)
    del world.vault.kept[CERTIFICATE].tags[LEAVES_TAG]
    host = breach(world)
    until(world, host, Step.RESTORE_TWIN, HOUR)
    host.run_for(HOUR)
    assert leaves(world) is None
    assert not with_new_leaf(world)


@pytest.mark.parametrize("applied", [False, True], ids=["refused", "done and not answered"])
def test_what_the_vault_throttles_or_does_not_answer_is_issued_once(applied: bool) -> None:
    world = a_group_of_the_vault(30)
    merge, calls = world.vault.merge, []

    def flaky(name: str, chain: Any) -> None:
        calls.append(name)
        bad = len(calls) % 3 == 0
        if applied or not bad:
            merge(name, chain)
        if bad:
            raise ServiceUnavailable("429", timedelta(seconds=2))

    world.vault.merge = flaky  # type: ignore[method-assign]
    host = breach(world)
    all_issued(world, host)
    assert with_new_leaf(world) == set(names(30))
    assert versions(world) == {2}


def test_a_device_that_no_leaf_can_be_issued_to_holds_up_no_other_and_is_named() -> None:
    world = a_group_of_the_vault(4)
    bad = names(4)[2]
    kept = world.vault.kept[f"leaf-{bad}"]
    kept.asks_for_signature = lambda: next(iter(kept.keys.values()))  # the policy reuses the key
    host = breach(world)
    host.run(lambda: (found := leaves(world)) is not None and found.done == 3, HOUR)
    found = leaves(world)
    assert found is not None
    assert found.stragglers == (bad,)
    kept.asks_for_signature = p256
    kept.waiting = kept.pending = None
    all_issued(world, host)


def test_a_vault_that_does_not_let_the_app_issue_is_a_persons_and_a_retry_goes_on() -> None:
    world = a_group_of_the_vault(3)
    issue = world.vault.issue

    def refuse(name: str) -> None:
        if name.startswith("leaf-"):
            raise NotAllowed("403 Forbidden")
        issue(name)

    world.vault.issue = refuse  # type: ignore[method-assign]
    host = breach(world)
    host.run(lambda: the_rollover(world).outcome is not None, 3 * HOUR)
    ended: Rollover = the_rollover(world)
    assert (ended.outcome, ended.contained) == (Outcome.NEEDS_PERSON, True)
    assert "403 Forbidden" in (ended.outcome_reason or "")
    world.vault.issue = issue  # type: ignore[method-assign]
    retry(ended.id, "the role is there now", (), ONCALL, world.services)
    all_issued(world, host)
    for name in names(3):
        world.hub.put(name, thumbprint(name, 1), thumbprint(name, 1), connected=True)
    assert until(world, host, None, HOUR).outcome is Outcome.DONE, reasons(world)


def test_a_leaf_is_replaced_although_the_new_one_ends_sooner() -> None:
    """The old one is good for nothing any more, and the CA that was made in a hurry lives a year."""
    world = a_group_of_the_vault(3)
    for name in names(3):
        key = p256()
        leaf = made(name, key, by=(OLD, _OLD.key), ca=False, ends=NOW + timedelta(days=2000))
        keep(world, f"leaf-{name}", leaf, key, ca=CERTIFICATE, new=p256)
    host = breach(world)
    all_issued(world, host)
    assert with_new_leaf(world) == set(names(3))
