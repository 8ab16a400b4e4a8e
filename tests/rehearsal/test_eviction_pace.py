"""A fleet leaves the hub in real time: real host, queues and tables of Azurite, HTTPS, the quota of one S3 unit."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from local.functions_host import settings as app_settings
from shared.clients.storage import open_storage
from shared.fleet import FleetProgress, Work
from shared.fleet_ledger import Fleets
from shared.ledger import Ledger
from shared.quota import Quota
from shared.rollover import Rollover
from shared.rows import History
from shared.settings import read_settings
from tests.certificates import a_ca
from tests.fleet.kit import a_breach
from tests.rehearsal.plant import Host, Plant, until

GROUP = "boilers"
COUNT = 1_000


@pytest.fixture
def host(plant: Plant) -> Iterator[Host]:
    """A host that has run something, so that its worker has imported what it needs."""
    running = plant.host()
    running.run_now("resume_rollovers")
    until(lambda: "resume_rollovers" in running.tail(), "the timer has run", running.tail)
    yield running
    running.stop()


def _install(plant: Plant, count: int) -> None:
    """A disabled group, whose devices registered while it was enabled."""
    ca = {"certificate": a_ca("Boilers CA").pem}
    x509 = {"signingCertificates": {"primary": ca}}
    body = {"enrollmentGroupId": GROUP, "attestation": {"type": "x509", "x509": x509}, "provisioningStatus": "disabled"}
    plant.dps.enrollment_group.create_or_update(GROUP, body)
    world = plant.standin.world

    async def register() -> None:
        for number in range(count):
            name, leaf = f"boiler-{number:04}", f"{number:064X}"
            world.hub.provision_x509(
                name, primary=leaf, secondary=leaf, policy="migrate", initial_twin=None, iot_edge=False
            )
            outcome = {"status": "assigned", "assignedHub": world.hub.host_name, "deviceId": name}
            world.dps.registrations.record(name, ("EnrollmentGroup", GROUP), leaf, outcome)

    plant.standin.within(register())
    plant.standin.control.patch("/throttles", {"hub_tier": "S3", "hub_units": 1})


def _begin(plant: Plant) -> tuple[Fleets, Rollover]:
    """A breach that has come to its eviction, whose steps do not look before that is done."""
    settings = read_settings(app_settings(plant.document))
    table, fleets, nudges = open_storage(settings, None)  # type: ignore[arg-type]  # by connection string
    now = plant.standin.world.clock.now
    rollover = replace(
        a_breach(Work.EVICT, group_id=GROUP), started_at=now(), waiting_since=now(), due_at=now() + timedelta(days=1)
    )
    begun = Ledger(table).begin(rollover, None, History(now(), "test", "started", "for a test"))
    works = Fleets(fleets, nudges, settings, now)
    works.begin(begun, Work.EVICT)
    return works, begun


@pytest.mark.proof
def test_a_fleet_leaves_the_hub_in_the_least_time_that_the_quota_allows(plant: Plant, host: Host, whole: bool) -> None:
    """From the work's beginning to the answer to its last bulk deletion; the quota is read from Resource Manager."""
    count = COUNT if whole else 120
    _install(plant, count)
    journal = plant.standin.world.journal
    began = journal.append("event", what="the eviction begins")
    works, rollover = _begin(plant)

    def finished() -> FleetProgress | None:
        progress = works.progress(rollover, Work.EVICT)
        return progress if progress and progress.finished else None

    progress = until(finished, "every identity has left", host.tail)
    assert progress.complete
    assert progress.devices == count
    entries = journal.entries(began - 1)
    deletions = [one for one in entries if one.get("operation") == "BulkDevices" and one["status"] == 200]
    seconds, bound = deletions[-1]["wall"] - entries[0]["wall"], Quota("S3", 1).eviction_seconds(count)
    throttled = sum(one.get("status") == 429 for one in entries)
    print(
        f"\n{count} identities, S3 x 1, in real time: {seconds:.1f} s of {bound:.1f} s, ratio {seconds / bound:.3f},"
        f" {throttled} times 429"
    )
    if whole:
        assert seconds <= 1.1 * bound
