"""The plant of these tests: one stand-in and one Azurite for all, hosts as each test wants them."""

import pytest

from tests.conftest import test_net
from tests.rehearsal.plant import Plant
from tests.standin import StandIn


@pytest.fixture(scope="session")
def plant(standin: StandIn, azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Stand-in and Azurite, without a host."""
    standin.control.post("/reset")
    # The vault issues at once and DPS assigns at once: these proofs are about order, not about waiting.
    standin.control.patch("/knobs", {"certificate_create_s": 0.05, "assign_delay_s": 0.05, "job_start_delay_s": 0.05})
    return Plant(standin, azurite, test_net(), tmp_path_factory.mktemp("plant"))
