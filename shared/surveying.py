"""Reads the lists of vault, DPS and ledger: as many requests as they have pages."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from shared.devices import Device
from shared.errors import RolloverError
from shared.plans import Plan
from shared.rollover import Rollover, group_partition, individual_partition
from shared.seen import Listed
from shared.services import Services
from shared.survey import Source, Survey
from shared.tags import ENROLLMENT_TAG, ca_of_leaf, group_of


def survey(services: Services, notes: Mapping[str, Device]) -> Survey:
    """What the lists say. One that cannot be read is named in ``missing``, with what was read of it before.

    Args:
        notes: which vault certificate belongs to which device (``shared.devices``), for those without a tag.
    """
    missing: dict[Source, RolloverError] = {}

    def read[Item](source: Source, items: Callable[[], Iterable[Item]]) -> Iterator[Item]:
        try:
            yield from items()
        except RolloverError as error:
            missing[source] = error

    def given_up() -> Iterable[Rollover]:
        return services.ledger.given_up(Plan.MEMBER_EXPIRY) if leaves else ()

    vault = tuple(read(Source.VAULT, services.vault.certificates))
    leaves = _leaves(vault)
    return Survey(
        vault=vault,
        ties=_ties(vault, notes),
        leaves=leaves,
        enrollments={
            individual_partition(one.registration_id): replace(one, body={})
            for one in read(Source.ENROLLMENTS, services.provisioning.enrollments)
        },
        groups={
            group_partition(one.enrollment_group_id): one for one in read(Source.GROUPS, services.provisioning.groups)
        },
        authorities=tuple(read(Source.AUTHORITIES, services.authorities.all)),
        open={one.partition: one for one in read(Source.LEDGER, services.ledger.open)},
        given_up={one.certificate_name: one for one in read(Source.LEDGER, given_up)},
        missing=missing,
    )


def _ties(vault: Iterable[Listed], notes: Mapping[str, Device]) -> dict[str, str]:
    """Its tag decides; what was found by its common name, which no list tells, stands in the notes."""
    noted = {one.certificate_name: one.registration_id for one in notes.values() if one.certificate_name}
    ties = {}
    for listed in vault:
        if group_id := group_of(listed):
            ties[listed.name] = group_partition(group_id)
        elif registration_id := listed.tags.get(ENROLLMENT_TAG, "").strip() or noted.get(listed.name):
            ties[listed.name] = individual_partition(registration_id)
    return ties


def _leaves(vault: Iterable[Listed]) -> dict[str, Listed]:
    by_name = {one.name: one for one in vault}
    found = ((one.name, ca_of_leaf(one, by_name.get)) for one in by_name.values())
    return {name: ca for name, ca in found if ca is not None}


def note_devices(found: Survey, notes: Mapping[str, Device], services: Services) -> None:
    """Leave a note of every enrollment that a vault certificate belongs to; written only where it is new.

    Raises:
        ServiceUnavailable, ServiceRefused: the storage account.
    """
    for name, partition in found.ties.items():
        enrollment = found.enrollments.get(partition)
        if enrollment is not None and notes.get(enrollment.device_id) != Device(enrollment.registration_id, name):
            services.devices.know(enrollment.device_id, enrollment.registration_id, name)
