"""The horizon against what really happens: the sweep itself, hour by hour, says what rolls and what nothing rolls."""

import random
from collections import Counter
from datetime import datetime, timedelta
from itertools import product

import pytest

from shared.certificate import Certificate
from shared.expiring import look_ahead
from shared.horizon import PATIENCE, Expiry, Fate
from shared.plans import Step
from shared.surveying import survey
from shared.sweeping import sweep
from tests.builders import DEVICE, EXPIRED, NEW, NEWER, OLD, STRANGER, deliver
from tests.certificates import NOW
from tests.fakes import Kept, World, a_world

DAY = timedelta(days=1)
CERTIFICATES = (OLD, NEW, STRANGER, EXPIRED)
TIED = ("tag", "tag", "tag", "tag", "common name", "common name", "no", "another's tag")
SLOTS = tuple(product(CERTIFICATES, (None, None, None, *CERTIFICATES)))
KEPT = ((OLD,), (NEW,), (OLD, NEW), (NEW, NEWER))
POOL = tuple(product(SLOTS, KEPT, TIED, (True, False)))
"""Slots, versions in the vault, how the vault certificate is tied, whether the enrollment is enabled."""


def a_world_of(
    slots: tuple[Certificate, Certificate | None], kept: tuple[Certificate, ...], tied: str, on: bool
) -> World:
    world = a_world(mirror_primary=False)
    status = {"provisioningStatus": "enabled" if on else "disabled"}
    world.dps.enroll(DEVICE, *(one for one in slots if one), **status)
    world.hub.provision(DEVICE, slots[0].sha256_thumbprint)
    tags = {"tag": {"rollover-enrollment": DEVICE}, "another's tag": {"rollover-enrollment": "dev-02"}}
    if tied != "no":
        world.vault.kept["cert"] = Kept(list(kept), tags.get(tied, {}))
    return world


def seen(world: World) -> list[Expiry]:
    return look_ahead(survey(world.services, world.services.devices.all()), world.services)


def begins(world: World, at: datetime) -> bool:
    """Whether a sweep at this time begins a rollover that its first step does not refuse, or finds one open."""
    world.clock.time = at
    sweep(world.services)
    for rollover in list(world.services.ledger.open()):
        deliver(world, Step.ISSUE_CERTIFICATE, rollover.id)
    return any(world.services.ledger.open())


def cases(whole: bool) -> list[tuple]:
    """Every configuration once, or a seeded sample."""
    return list(dict.fromkeys(POOL)) if whole else random.Random(0).sample(POOL, 100)


@pytest.mark.proof
def test_what_is_foretold_comes_then_and_nothing_else_does(whole):
    counted: Counter[str] = Counter()
    for case in cases(whole):
        world = a_world_of(*case)
        know_by_common_name(world)
        foretold = [one for one in seen(world) if one.fate is Fate.ROLLS]
        first = min((one.due_at or NOW for one in foretold), default=NOW + 400 * DAY)
        before = [NOW + days * DAY for days in (0, 1, 29, 31, 200, 363, 366, 394)]
        # When a certificate beside the latest version is retired depends on whose it is, which lists do not tell.
        surely = all(one.due_at != one.ends for one in foretold)
        assert not (surely and any(begins(world, at) for at in before if at < first)), (case, foretold)
        if not foretold:
            counted["nothing"] += 1
        elif begins(world, max(first, NOW)):
            counted["begins"] += 1
        else:
            told = [one for one in seen(world) if one.fate is Fate.UNCOVERED]
            counted["says why not"] += 1
            assert told, (case, foretold)
    print(f"horizon: {counted.total()} configurations, foretold and tried: {dict(counted)}")
    assert min(counted["begins"], counted["nothing"]) >= 5, counted


def know_by_common_name(world: World) -> None:
    """What has no tag is known once a sweep has read it."""
    for listed in world.vault.certificates():
        tagged = world.vault.latest(listed.name)
        if tagged is not None and not tagged.tags and tagged.latest.certificate.common_name == DEVICE:
            world.services.devices.know(DEVICE, DEVICE, listed.name)


@pytest.mark.proof
def test_nothing_that_is_due_stays_foretold_without_being_begun(whole):
    """Either a rollover is open when it was to begin, or the horizon says by then why not: at any moment."""
    for case in cases(whole):
        world = a_world_of(*case)
        for after in (0, 1, 5, 29, 30, 200, 360, 366, 394, 396, 800):
            world.clock.time = NOW + after * DAY
            sweep(world.services)
            sweep(world.services)
            for one in seen(world):
                overdue = one.fate is Fate.ROLLS and one.due_at is not None and one.due_at + PATIENCE <= world.clock()
                assert not overdue, (case, after, one)
