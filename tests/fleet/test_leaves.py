"""Devices whose certificates a CA in the vault issues get them before they are asked to move."""

from datetime import timedelta

import pytest

from shared.callers import Role
from shared.fleet import Work
from shared.issuing import issued_by
from shared.operating import disallow
from shared.starting import start_rollover
from shared.stragglers import list_stragglers
from shared.sweeping import sweep
from shared.tags import LEAVES_TAG
from tests.builders import as_incoming, as_outgoing
from tests.certificates import NOW
from tests.counted import counting
from tests.fakes import Kept, somebody
from tests.fleet.kit import GROUP, Fleet, a_fleet, an_expiry, names
from tests.fleet.moving import Asked
from tests.own_ca import keep, made, p256

pytestmark = pytest.mark.usefixtures("quiet")
CA = "pumps-ca"


def a_fleet_of_the_vault(count: int, ours: int) -> tuple[Fleet, Asked]:
    """The first ``ours`` devices have their certificates in the vault, issued by the group's CA there."""
    old_key, new_key = p256(), p256()
    old = made("Pumps CA", old_key, ends=NOW + timedelta(days=30))
    new = made("Pumps CA", new_key)
    fleet = a_fleet(
        count, Work.WAVE, an_expiry(outgoing=as_outgoing(old), incoming=as_incoming(new), certificate_name=CA)
    )
    keys = {old.sha256_thumbprint: old_key, new.sha256_thumbprint: new_key}
    fleet.world.vault.kept[CA] = Kept([old, new], {"rollover-group": GROUP, LEAVES_TAG: "leaf-*"}, keys=keys)
    for name in names(ours):
        key = p256()
        leaf = made(name, key, by=(old, old_key), ca=False, ends=NOW + timedelta(days=20))
        keep(fleet.world, f"leaf-{name}", leaf, key, ca=CA, new=p256)
    return fleet, Asked(fleet)


def test_every_device_is_asked_once_its_leaf_under_the_incoming_ca_is_in_the_vault():
    fleet, asked = a_fleet_of_the_vault(30, 30)
    vault = fleet.world.vault
    start = asked.start

    def checked(job_id, device_ids, method, payload):
        for name in device_ids:
            assert issued_by(vault.kept[f"leaf-{name}"].versions[-1], vault.kept[CA].versions[-1])
        start(job_id, device_ids, method, payload)

    fleet.world.hub.start_fleet_job = checked
    fleet.begin()
    assert fleet.finish().complete
    assert vault.asked == 30
    assert asked.by_name == dict.fromkeys(names(30), 1)


def test_who_has_no_certificate_in_the_vault_is_asked_all_the_same():
    fleet, asked = a_fleet_of_the_vault(10, 4)
    fleet.begin()
    assert fleet.finish().complete
    assert fleet.world.vault.asked == 4
    assert asked.by_name == dict.fromkeys(names(10), 1)


def test_a_device_that_no_leaf_can_be_issued_to_is_not_asked_and_is_named():
    fleet, asked = a_fleet_of_the_vault(10, 10)
    bad = names(10)[9]
    kept = fleet.world.vault.kept[f"leaf-{bad}"]
    kept.asks_for_signature = lambda: next(iter(kept.keys.values()))  # the policy reuses the key
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().done == 9)
    assert fleet.progress().stragglers == (bad,)
    assert bad not in asked.by_name
    kept.asks_for_signature = p256
    kept.waiting = kept.pending = None
    assert fleet.finish().complete


def test_nothing_is_issued_by_a_ca_that_is_not_of_the_incoming_one():
    fleet, asked = a_fleet_of_the_vault(5, 5)
    other = p256()
    stranger = made("Other CA", other)
    fleet.world.vault.kept["other-ca"] = Kept([stranger], keys={stranger.sha256_thumbprint: other})
    for name in names(5):
        fleet.world.vault.kept[f"leaf-{name}"].tags["rollover-ca"] = "other-ca"
    fleet.begin()
    fleet.host.run(lambda: fleet.progress().halted is not None)
    assert fleet.world.vault.asked == 0
    assert not asked.by_name


def test_the_sweep_does_not_look_at_the_certificates_of_a_groups_devices_one_by_one():
    fleet, _ = a_fleet_of_the_vault(40, 40)
    requests = counting(fleet.world)
    assert sweep(fleet.world.services) == {"nothing": 40, "open": 1}
    assert requests["vault.latest"] == 0


def test_the_sweep_leaves_the_certificate_of_a_groups_device_to_the_waves_of_its_group():
    fleet, _ = a_fleet_of_the_vault(1, 1)
    name = names(1)[0]
    leaf = fleet.world.vault.kept[f"leaf-{name}"].versions[-1]
    fleet.world.hub.provision(name, leaf.sha256_thumbprint)
    started = start_rollover(f"leaf-{name}", "sweep", fleet.world.services, hint=False)
    assert (started.what, started.why) == ("nothing", f"group.{GROUP}.1 brings it a new certificate: it is waiting")


def test_a_device_that_is_kept_out_is_given_no_leaf_to_come_back_by():
    """What keeps it out holds its old leaf; by another one its group would let it in."""
    fleet, asked = a_fleet_of_the_vault(10, 10)
    odd, services = names(10)[9], fleet.world.services
    leaf = fleet.world.vault.kept[f"leaf-{odd}"].versions[-1]
    fleet.world.hub.put(odd, leaf.sha256_thumbprint, leaf.sha256_thumbprint, connected=True)
    kept_out = disallow(odd, "odd traffic", None, somebody("oncall", Role.BREACH_EXECUTE), services, leaf)
    fleet.begin()
    fleet.host.run_for(timedelta(hours=1))
    assert fleet.progress().done == 9
    assert len(fleet.world.vault.kept[f"leaf-{odd}"].versions) == 1
    assert odd not in asked.by_name
    [left] = list_stragglers(fleet.rollover.id, {}, services)["stragglers"]
    assert (left["device_id"], kept_out.id in left["why"]) == (odd, True)
