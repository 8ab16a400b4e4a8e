"""The effects on the CA certificates of the DPS: put there, proved, deleted; never one that was not meant."""

from dataclasses import replace

import pytest

from functions.add_ca_certificate import upload_or_prove
from functions.delete_ca_certificate import delete_outgoing
from shared.certificate import Outgoing
from shared.errors import Conflict, NotFound, ServiceUnavailable
from shared.plans import Plan, Step
from shared.rollover import Rollover
from shared.verdict import Act
from tests.builders import a_rollover, as_incoming, seen
from tests.fakes import World, a_world
from tests.own_ca import ROOT, keep, made, p256

NAME = "fleet-root-2"


@pytest.fixture
def world() -> World:
    """The vault holds the outgoing root and the incoming one; the DPS has the outgoing one."""
    world = a_world()
    keys = p256(), p256()
    old, new = (made("Fleet Root", key) for key in keys)
    keep(world, ROOT, old, keys[0], new=p256)
    kept = world.vault.kept[ROOT]
    kept.versions.append(new)
    kept.keys[new.sha256_thumbprint] = keys[1]
    world.authorities.add("fleet-root-1", old)
    return world


def the_rollover(world: World) -> Rollover:
    old, new = world.vault.kept[ROOT].versions
    outgoing = Outgoing(old.sha1_thumbprint, old.sha256_thumbprint, old.not_after)
    base = a_rollover(Step.ISSUE_CERTIFICATE, outgoing=outgoing, incoming=as_incoming(new))
    return replace(base, plan=Plan.GROUP_EXPIRY, group_id="g1", certificate_name=ROOT, registration_id="", device_id="")


def do(world: World, what: str, name: str = NAME) -> None:
    upload_or_prove(the_rollover(world), seen(), Act("because", {"do": what, "name": name}), world.services)


def delete(world: World, name: str) -> None:
    delete_outgoing(the_rollover(world), seen(), Act("because", {"name": name}), world.services)


def test_the_incoming_certificate_is_uploaded_and_then_proved(world):
    new = world.vault.kept[ROOT].versions[1]
    do(world, "upload")
    assert (world.authorities.get(NAME).certificate, world.authorities.get(NAME).verified) == (new, False)
    do(world, "prove")
    assert world.authorities.get(NAME).verified


def test_where_the_platform_team_vouches_nothing_is_signed(world):
    world.settings = replace(world.settings, ca_verified_on_upload=True)
    world.vault.kept[ROOT].keys.clear()
    do(world, "upload")
    assert world.authorities.get(NAME).verified
    world.authorities.add(NAME, world.vault.kept[ROOT].versions[1], verified=False)
    do(world, "prove")
    assert world.authorities.get(NAME).verified


def test_an_upload_that_was_done_already_changes_nothing(world):
    do(world, "upload")
    do(world, "prove")
    before = world.authorities.get(NAME)
    do(world, "prove")
    with pytest.raises(Conflict):
        do(world, "upload", "fleet-root-1")
    assert world.authorities.get(NAME) == before


def test_another_certificate_of_the_name_is_never_overwritten(world):
    stranger = made("Somebody's Root", p256())
    world.authorities.add(NAME, stranger)
    for what in ("upload", "prove"):
        with pytest.raises(Conflict, match="is not the incoming one"):
            do(world, what)
    assert world.authorities.get(NAME).certificate == stranger


def test_a_certificate_that_is_not_there_cannot_be_proved(world):
    with pytest.raises(NotFound):
        do(world, "prove")


def test_a_host_that_dies_between_code_and_proof_does_it_again(world):
    do(world, "upload")
    verify = world.authorities.verify

    def die(*_):
        raise ServiceUnavailable("killed")

    world.authorities.verify = die
    with pytest.raises(ServiceUnavailable):
        do(world, "prove")
    first = world.authorities.codes[NAME]
    world.authorities.verify = verify
    do(world, "prove")
    assert world.authorities.get(NAME).verified
    assert world.authorities.codes[NAME] != first, "the code is asked for anew"


def test_a_certificate_that_somebody_changed_between_code_and_proof_is_not_proved(world):
    do(world, "upload")
    ask, new = world.authorities.verification_code, world.vault.kept[ROOT].versions[1]

    def ask_and_be_overtaken(read):
        found = ask(read)
        world.authorities.add(NAME, new, verified=False)
        return found

    world.authorities.verification_code = ask_and_be_overtaken
    with pytest.raises(Conflict):
        do(world, "prove")
    world.authorities.verification_code = ask
    do(world, "prove")
    assert world.authorities.get(NAME).verified


def test_the_outgoing_certificate_is_deleted_and_no_other(world):
    do(world, "upload")
    with pytest.raises(Conflict, match="none of those that leave"):
        delete(world, NAME)
    delete(world, "FLEET-ROOT-1")
    assert [one.name for one in world.authorities.all()] == [NAME]
    delete(world, "fleet-root-1")


def test_a_certificate_that_resource_manager_does_not_give_back_is_known_by_its_thumbprint(world):
    """Recorded of azure-cli: `certificate` is null."""
    old = world.authorities.get("fleet-root-1")
    hidden = replace(old, certificate=None, thumbprint=old.certificate.sha1_thumbprint)
    world.authorities.kept["fleet-root-1"] = hidden
    do(world, "upload")
    new = world.authorities.get(NAME)
    world.authorities.kept[NAME] = replace(new, certificate=None, thumbprint=new.certificate.sha1_thumbprint)
    do(world, "prove")
    assert world.authorities.get(NAME).verified
    delete(world, "fleet-root-1")
    assert [one.name for one in world.authorities.all()] == [NAME]
