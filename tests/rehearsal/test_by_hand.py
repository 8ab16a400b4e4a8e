"""The guide's four group procedures, done by hand with light devices; and what comes of leaving a step out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.azure.dps.ca_certificates import CaCertificate
from local.rehearse.by_hand import carry_out
from local.rehearse.procedures import (
    REMOVE,
    TRUST_NEW,
    intermediate_breach,
    intermediate_expiry,
    root_breach,
    root_expiry,
)
from tests.rehearsal.yard import FORGED_NEW, GROUP, Yard, valid
from tests.standin import StandIn

DEVICES = 8


@pytest.fixture
def yard(azure: StandIn, tmp_path: Path) -> Iterator[Yard]:
    one = Yard(azure, tmp_path, DEVICES)
    azure.world.dps.ca_certificates.put(CaCertificate("root-1", one.root.der, verified=True))
    yield one
    one.fleet.stop()


def test_intermediate_expiry(yard: Yard) -> None:
    yard.hand.create_group(GROUP, yard.issuer)
    yard.open()
    new = yard.root.subordinate("Intermediate 1", valid(300))
    procedure = intermediate_expiry(yard.hand, GROUP, new)
    yard.fleet.desk.appoint(new)
    carry_out(procedure.at_once)
    yard.until(lambda: yard.on(new) == set(yard.names))
    carry_out(procedure.later)
    assert yard.refused() == {}
    assert yard.longest_gap_s() < 1
