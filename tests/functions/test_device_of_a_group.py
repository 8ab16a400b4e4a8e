"""One device of a group is kept out by an enrollment of its own, and let back with a new certificate."""

import pytest

from shared.certificate import Certificate, parse_certificate
from shared.nudges import encode_nudge
from shared.stepping import carry_out
from tests.builders import EFFECTS
from tests.certificates import Made, a_ca
from tests.fakes import Kept, World
from tests.group_story import GROUP, THE_ROOT, a_group_story
from tests.http_api import HttpApi

DEVICE = "pump-1"
LINE = a_ca("Line CA", THE_ROOT)
LEAF, NEW_LEAF = a_ca(DEVICE, LINE, ca=False), a_ca(DEVICE, LINE, ca=False)
OTHERS = a_ca("pump-2", LINE, ca=False)

pytestmark = pytest.mark.usefixtures("quiet")


def parsed(made: Made) -> Certificate:
    return parse_certificate(made.der)


@pytest.fixture
def world() -> World:
    world = a_group_story()
    world.hub.provision(DEVICE, parsed(LEAF).sha256_thumbprint)
    return world


@pytest.fixture
def http(world: World, http_of) -> HttpApi:
    return http_of(world)


def run(world: World) -> str:
    """Carry the device's latest rollover to its end; its status."""
    for _ in range(20):
        rollover = world.services.ledger.last(DEVICE)
        if rollover.next_step is None:
            break
        world.clock.time = max(world.clock.time, rollover.due_at)
        carry_out(rollover.next_step, encode_nudge(rollover.id).encode(), world.services, EFFECTS[rollover.next_step])
    return rollover.status


def keep_out(http: HttpApi, **more):
    return http.post(f"/api/devices/{DEVICE}/disallow", reason="stolen", leaf_certificate=LEAF.pem, **more)


def test_a_device_of_a_group_is_kept_out_by_a_disabled_enrollment_of_its_own(http, world):
    answer = keep_out(http)
    assert answer.status == 202
    assert "through its group" in answer.json["warning"]
    enrollment = world.dps.enrollment(DEVICE)
    assert (enrollment.enabled, enrollment.holds(parsed(LEAF).sha256_thumbprint)) == (False, True), "before the answer"
    assert run(world) == "done"
    assert not world.hub.identities[DEVICE].enabled
    assert world.dps.group(GROUP).enabled, "the others are not touched"


def test_a_preview_warns_that_whoever_deletes_the_entry_lets_the_device_in_and_changes_nothing(http, world):
    rows, identity = dict(world.table.rows), world.hub.identities[DEVICE]
    answer = keep_out(http, preview=True)
    assert answer.status == 200
    assert "whoever deletes that lets the device in again" in answer.json["warning"]
    assert answer.json["already"] is None
    assert (world.table.rows, world.hub.identities[DEVICE]) == (rows, identity)
    assert world.dps.enrollment(DEVICE) is None
    keep_out(http)
    assert keep_out(http, preview=True).json["already"] == world.services.ledger.last(DEVICE).id
    assert keep_out(http, preview="yes").status == 400


def test_it_comes_back_with_a_new_certificate_and_the_old_one_stays_out(http, world):
    keep_out(http)
    run(world)
    answer = http.post(f"/api/devices/{DEVICE}/allow", reason="repaired", leaf_certificate=NEW_LEAF.pem)
    assert answer.status == 202
    assert run(world) == "done"
    identity = world.hub.identities[DEVICE]
    assert (identity.enabled, set(identity.thumbprints())) == (True, {parsed(NEW_LEAF).sha256_thumbprint})
    enrollment = world.dps.enrollment(DEVICE)
    assert (enrollment.enabled, enrollment.holds(parsed(LEAF).sha256_thumbprint)) == (False, True)


def test_the_vault_s_leaf_is_taken_where_it_issued_it(http, world):
    """Own CA: its tag names the device."""
    world.vault.kept["pump-1-leaf"] = Kept([parsed(LEAF)], {"rollover-enrollment": DEVICE})
    assert http.post(f"/api/devices/{DEVICE}/disallow", reason="stolen").status == 202
    assert run(world) == "done"
    assert http.post(f"/api/devices/{DEVICE}/allow", reason="repaired").status == 409, "the vault has no new one yet"
    world.vault.kept["pump-1-leaf"].versions.append(parsed(NEW_LEAF))
    assert http.post(f"/api/devices/{DEVICE}/allow", reason="repaired").status == 202
    assert run(world) == "done"
    assert world.hub.identities[DEVICE].primary == parsed(NEW_LEAF).sha256_thumbprint


def test_an_enrollment_that_somebody_deletes_meanwhile_is_made_again(http, world):
    keep_out(http)
    del world.dps.enrolled[DEVICE]
    assert run(world) == "done"
    assert not world.dps.enrollment(DEVICE).enabled


def test_the_same_call_again_changes_nothing_more(http):
    assert keep_out(http).json["id"] == keep_out(http).json["id"]


REFUSED = {
    "no certificate": ({}, 404),
    "another device's": ({"leaf_certificate": OTHERS.pem}, 409),
    "one that the hub does not know": ({"leaf_certificate": NEW_LEAF.pem}, 409),
    "no PEM": ({"leaf_certificate": "MIIB"}, 400),
    "a number": ({"leaf_certificate": 1}, 400),
    "with its key": ({"leaf_certificate": LEAF.pem + LEAF.key_pem}, 400),
}


@pytest.mark.parametrize(("more", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with(more, status, http, world):
    answer = http.post(f"/api/devices/{DEVICE}/disallow", reason="stolen", **more)
    assert answer.status == status
    assert world.dps.enrolled == {}
    assert "PRIVATE" not in answer.json["detail"].replace("private key", "")


def test_it_is_not_let_back_with_the_old_certificate_or_one_of_the_old_key(http, world):
    keep_out(http)
    run(world)
    same_key = a_ca(DEVICE, LINE, ca=False, key=LEAF.key)
    for leaf in (LEAF, same_key, OTHERS):
        answer = http.post(f"/api/devices/{DEVICE}/allow", reason="repaired", leaf_certificate=leaf.pem)
        assert answer.status == 409, answer.json


def test_an_id_in_other_letters_than_the_device_s_own_is_no_device(http, world):
    """The hub heeds letter case, DPS does not: the group's door would be shut, and the hub be asked of a stranger."""
    answer = http.post("/api/devices/PUMP-1/disallow", reason="stolen", leaf_certificate=LEAF.pem)
    assert (answer.status, "pump-1" in answer.json["detail"]) == (404, True), answer.json
    assert world.dps.enrolled == {}
    assert world.hub.identities[DEVICE].enabled
