"""A CA's key is stolen while the vault, or Resource Manager, is down: the group is disabled all the same, its devices
are evicted; what is unknown is said, and found later."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.certificate import parse_certificate
from shared.errors import RolloverError
from shared.plans import Step
from shared.rollover import Rollover
from tests.certificates import a_ca
from tests.fakes import World
from tests.group_story import (
    CERTIFICATE,
    DEVICES,
    GROUP,
    LATER,
    NEW_CA,
    OLD_CA,
    OLD_ROOT,
    THE_ROOT,
    a_group_story,
    deliver,
    go_on,
    reasons,
    the_rollover,
    trusted,
)
from tests.http_api import HttpApi
from tests.outages import VAULT_DOWN, VAULT_SHUT, resource_manager_breaks, vault_breaks

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def world() -> World:
    return a_group_story()


@pytest.fixture
def http(world: World, http_of: Callable[[World], HttpApi]) -> HttpApi:
    return http_of(world)


def preview(http: HttpApi, **selector: str) -> dict[str, Any]:
    selector = selector or {"enrollment_group": GROUP}
    answer = http.post("/api/breaches", **selector, reason="the CA's key was copied")
    assert answer.status == 200, answer.json
    return dict(answer.json)


def confirm(http: HttpApi, shown: dict[str, Any]) -> None:
    assert http.post("/api/breaches", confirm=shown["confirm_token"]).status == 202


def enabled(world: World, group_id: str = GROUP) -> bool:
    group = world.dps.group(group_id)
    return group is not None and group.enabled


def until_it_waits_for(world: World, service: str) -> Rollover:
    """Carry out whatever is due until the service is waited for."""
    for _ in range(60):
        rollover = the_rollover(world)
        if service in (rollover.waiting_for or "") or rollover.next_step is None:
            return rollover
        world.clock.time = max(world.clock.time, rollover.due_at or world.clock.time)
        deliver(world, rollover.next_step)
    raise AssertionError(reasons(world))


@pytest.mark.parametrize("error", [VAULT_DOWN, VAULT_SHUT], ids=["down", "its firewall keeps us out"])
@pytest.mark.parametrize(
    "selector",
    [
        {"enrollment_group": GROUP},
        {"thumbprint": OLD_CA.sha1_thumbprint},
        {"thumbprint": OLD_CA.sha256_thumbprint},
    ],
    ids=["by its ID", "by SHA-1", "by SHA-256"],
)
def test_the_preview_says_that_the_replacement_is_not_known(world, http, error: RolloverError, selector) -> None:
    vault_breaks(world, error)
    (target,) = preview(http, **selector)["targets"]
    assert target["replacement"] is None
    assert target["replacement_note"].startswith("not known, for the vault cannot be read (Key Vault answered ")
    assert target["escape_routes_note"] is None, "Resource Manager was read"
    assert [one["sha256_thumbprint"] for one in target["compromised"]] == [OLD_CA.sha256_thumbprint]


@pytest.mark.parametrize("by_reference", [False, True], ids=["signing certificates", "CA references"])
def test_it_is_contained_without_the_vault_and_recovers_with_it(http_of, by_reference: bool) -> None:
    world = a_group_story(by_reference=by_reference)
    http = http_of(world)
    mend = vault_breaks(world, VAULT_DOWN)
    confirm(http, preview(http))
    assert not enabled(world), "before the answer"
    rests = until_it_waits_for(world, "Key Vault")
    assert (rests.contained, rests.next_step, rests.outcome) == (True, Step.ISSUE_CERTIFICATE, None), reasons(world)
    assert not set(DEVICES) & set(world.hub.identities)
    mend()
    assert go_on(world).next_step is Step.RESTORE_TWIN, reasons(world)
    assert enabled(world)
    assert (OLD_ROOT if by_reference else OLD_CA).sha256_thumbprint not in trusted(world).values()


def test_a_vault_that_goes_between_preview_and_confirmation_is_no_difference(world, http) -> None:
    shown = preview(http)
    vault_breaks(world, VAULT_DOWN)
    confirm(http, shown)
    assert not enabled(world)


def test_a_replacement_with_the_stolen_key_is_found_out_once_the_vault_is_back(http_of) -> None:
    """At the call nobody could tell the stolen CA's key; an own root of the same key would undo the breach."""
    world = a_group_story()
    stolen = a_ca("Line CA", THE_ROOT)
    world.vault.kept[CERTIFICATE].versions[:] = [parse_certificate(stolen.der)]
    world.dps.enroll_group(GROUP, parse_certificate(stolen.der))
    mend = vault_breaks(world, VAULT_DOWN)
    http = http_of(world)
    confirm(http, preview(http))
    assert [one.public_key_sha256 for one in the_rollover(world).leaving] == [None]
    again = parse_certificate(a_ca("Line CA", THE_ROOT, key=stolen.key, **LATER).der)
    world.vault.issues = lambda _: again
    mend()
    rests = go_on(world)
    assert "it has a compromised key" in (rests.waiting_for or ""), reasons(world)
    assert again.sha256_thumbprint not in trusted(world).values()


def test_a_way_in_that_only_the_vault_rules_out_is_not_taken_for_open_while_it_is_down(world, http) -> None:
    """Another group trusts the next CA certificate, of the same name: only its key tells that it is another one."""
    world.vault.kept[CERTIFICATE].versions.append(NEW_CA)
    shown = preview(http)
    assert shown["targets"][0]["escape_routes"] == []
    confirm(http, shown)
    world.dps.enroll_group("line-2", NEW_CA)
    mend = vault_breaks(world, VAULT_DOWN)
    waits = until_it_waits_for(world, "Key Vault answered 503")
    assert (waits.next_step, waits.outcome) == (Step.VERIFY_CONTAINMENT, None), reasons(world)
    mend()
    world.clock.time = waits.due_at or world.clock.time
    assert go_on(world).contained, reasons(world)


@pytest.mark.parametrize("selector", [{"enrollment_group": GROUP}, {"thumbprint": OLD_CA.sha1_thumbprint}])
def test_the_door_is_shut_without_resource_manager_where_the_group_holds_its_ca_itself(world, http, selector) -> None:
    """What other groups name cannot be told: the preview says so, and containment is stated only once it was seen."""
    world.authorities.add("line", OLD_CA)
    world.dps.enroll_group("line-2", ca_references=["line"])
    mend = resource_manager_breaks(world)
    shown = preview(http, **selector)
    (target,) = shown["targets"]
    assert target["escape_routes_note"].startswith(
        "not complete, for the CA certificates of the DPS cannot be read (Res"
    )
    confirm(http, shown)
    assert not enabled(world)
    waits = until_it_waits_for(world, "Resource Manager gave no answer")
    assert (waits.next_step, waits.contained, waits.outcome) == (Step.VERIFY_CONTAINMENT, False, None)
    assert not set(DEVICES) & set(world.hub.identities)
    mend()
    world.clock.time = waits.due_at or world.clock.time
    found = go_on(world)
    assert "group line-2: it trusts the compromised CA certificate itself" in (found.outcome_reason or "")


def test_a_thumbprint_that_may_be_what_groups_name_is_not_said_to_be_nowhere(http_of) -> None:
    world = a_group_story(by_reference=True)
    resource_manager_breaks(world)
    asked = {"thumbprint": OLD_ROOT.sha1_thumbprint, "reason": "stolen"}
    answer = http_of(world).post("/api/breaches", **asked)
    assert answer.status == 503
    assert "Resource Manager gave no answer" in answer.json["detail"]
