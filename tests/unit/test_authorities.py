"""What is known of the CA certificates of a DPS, from Resource Manager and the vault."""

from dataclasses import replace

import pytest

from shared.authorities import read_authorities
from shared.authority import DpsCertificate
from tests.fakes import Kept, World, a_world
from tests.own_ca import ISSUING, ROOT, made, p256, set_up


@pytest.fixture
def world() -> World:
    return a_world()


def test_a_ca_certificate_of_the_dps_is_known_by_what_the_vault_holds(world):
    """Resource Manager does not give certificates back (recorded); the vault has ours, earlier versions too."""
    set_up(world)
    stranger = made("Somebody's Root", p256())
    issuing, root = world.vault.kept[ISSUING].versions[0], world.vault.kept[ROOT].versions[0]
    world.vault.kept[ISSUING].versions.append(made("Fleet Issuing CA", p256()))
    world.vault.kept["by-name"] = Kept([by_name := made("By Name", p256())])
    for name, certificate in (("ca", issuing), ("top", root), ("by-name", by_name), ("theirs", stranger)):
        world.authorities.kept[name] = DpsCertificate(name, None, True, "e", certificate.sha1_thumbprint)
    found = {one.name: one.certificate for one in read_authorities(world.services, ISSUING)}
    assert found == {"ca": issuing, "top": root, "by-name": by_name, "theirs": None}


def test_nothing_is_looked_up_where_resource_manager_says_it_all(world):
    set_up(world)
    world.authorities.add("ca", world.vault.kept[ROOT].versions[0])
    services = replace(world.services, vault=None)
    assert [one.name for one in read_authorities(services, ISSUING)] == ["ca"]
