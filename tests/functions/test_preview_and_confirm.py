"""A preview changes nothing; its token confirms exactly what was shown, to the one who saw it, and only once."""

import copy
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import ServiceUnavailable
from shared.previews import LIFE
from tests.builders import CERTIFICATE, DEVICE, NEW, OLD, OLD_256, STRANGER, STRANGER_256, a_story, begin
from tests.fakes import World
from tests.http_api import Answered, HttpApi

OTHER = "dev-02"
CALL: dict[str, Any] = {"registration_id": DEVICE, "reason": "laptop stolen", "ticket": "INC-7"}
SHARED: dict[str, Any] = {"thumbprint": OLD_256, "reason": "laptop stolen"}
"""A call that names two devices."""


@pytest.fixture
def world() -> World:
    """The story, and a second device with the same certificate."""
    made = a_story()
    made.dps.enroll(OTHER, OLD)
    made.dps.registered(OTHER)
    made.hub.provision(OTHER, OLD_256)
    return made


@pytest.fixture
def http(world: World, http_of: Callable[[World], HttpApi]) -> HttpApi:
    return http_of(world)


def preview(http: HttpApi, **call: Any) -> str:
    answer = http.post("/api/breaches", **(call or CALL))
    assert answer.status == 200, answer.json
    return str(answer.json["confirm_token"])


def confirm(http: HttpApi, token: str, who: str = "oncall", **members: Any) -> Answered:
    return http.post("/api/breaches", who, confirm=token, **members)


def outside(world: World) -> Any:
    """Everything but the ledger, as it stands."""
    return copy.deepcopy(
        (
            world.dps.enrolled,
            world.dps.grouped,
            world.hub.identities,
            world.hub.twins,
            world.hub.jobs,
            world.vault.kept,
            world.vault.asked,
            world.nudges.sent,
            world.topic.published,
        )
    )


def rollovers(world: World) -> list[str]:
    return sorted(".".join(map(str, key)) for key in world.table.rows if key[1].startswith("rollover."))


# --- a preview --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [CALL, SHARED, {**CALL, "mode": "disable"}, {**CALL, "mode": "reprovision"}])
def test_a_preview_changes_nothing(call, http):
    before, rows = outside(http.world), set(http.world.table.rows)
    preview(http, **call)
    assert outside(http.world) == before
    assert [key[0] for key in http.world.table.rows.keys() - rows] == ["incidents"]


def test_a_preview_is_as_good_as_the_next_and_each_has_its_own_token(http):
    assert preview(http) != preview(http)


def test_a_preview_shows_what_the_device_loses_by_each_mode(http):
    http.world.hub.put(DEVICE, OLD_256, OLD_256, queued_messages=3, iot_edge=True)
    loses = {}
    for mode in ("remove", "disable", "reprovision"):
        [target] = http.post("/api/breaches", **CALL, mode=mode).json["targets"]
        assert target["queued_messages"] == 3
        loses[mode] = " ".join(target["loses"])
    assert "3 queued cloud-to-device messages" in loses["remove"]
    assert "modules" in loses["remove"]
    assert "queued" not in loses["disable"] + loses["reprovision"]
    assert "goes on accepting" in loses["reprovision"]


# --- its token --------------------------------------------------------------------------------------------------------


def test_the_token_does_what_was_shown(http):
    answer = confirm(http, preview(http))
    assert (answer.status, answer.headers["Location"]) == (202, f"/api/rollovers/individual.{DEVICE}.1")
    assert http.world.dps.enrolled[DEVICE]["provisioningStatus"] == "disabled"
    assert http.world.dps.enrolled[OTHER]["provisioningStatus"] == "enabled"


def test_the_answer_for_several_devices_leads_to_the_list_of_them(http):
    answer = confirm(http, preview(http, **SHARED))
    assert answer.headers["Location"] == f"/api/rollovers?incident={answer.json['incident']}"
    listed = http.get("/api/rollovers", incident=answer.json["incident"]).json["rollovers"]
    assert {one["registration_id"] for one in listed} == {DEVICE, OTHER}
    assert {one["id"] for one in listed} == {one["id"] for one in answer.json["rollovers"]}


@pytest.mark.parametrize("token", ["", " ", "x", "A" * 32, None, 7, ["x"], {}])
def test_what_is_no_token_confirms_nothing(token, http):
    preview(http)
    before = outside(http.world)
    assert http.post("/api/breaches", confirm=token).status in (400, 409)
    assert http.post("/api/breaches", **CALL, confirm=token).status in (400, 409)
    assert outside(http.world) == before


def test_the_token_is_of_no_use_to_somebody_else(http):
    token = preview(http)
    before = outside(http.world)
    assert confirm(http, token, "oncall-2").status == 409
    assert confirm(http, token, "operator").status == 403
    assert outside(http.world) == before
    assert rollovers(http.world) == []


def test_the_token_ends_after_its_time(http):
    in_time, late = preview(http), preview(http, **{**CALL, "registration_id": OTHER})
    http.world.clock.advance(LIFE - timedelta(seconds=1))
    assert confirm(http, in_time).status == 202
    http.world.clock.advance(timedelta(seconds=1))
    answer = confirm(http, late)
    assert (answer.status, "no longer" in answer.json["detail"]) == (409, True)
    assert http.world.dps.enrolled[OTHER]["provisioningStatus"] == "enabled"


def test_the_same_token_again_gives_the_same_rollovers_whenever(http):
    token = preview(http, **SHARED)
    first = confirm(http, token).json
    for wait in (timedelta(), LIFE, timedelta(days=30)):
        http.world.clock.advance(wait)
        again = confirm(http, token)
        assert again.status == 202
        assert [one["id"] for one in again.json["rollovers"]] == [one["id"] for one in first["rollovers"]]
    assert len(rollovers(http.world)) == 2


def test_a_second_preview_of_the_same_goes_on_with_what_the_first_began(http):
    first = confirm(http, preview(http)).json["rollovers"]
    [target] = http.post("/api/breaches", "oncall-2", **CALL).json["targets"]
    assert (target["preempts"], target["goes_on_with"]) == (None, first[0]["id"])
    assert confirm(http, preview(http)).json["rollovers"] == first
    assert len(rollovers(http.world)) == 1


def test_the_token_lies_nowhere(http, caplog):
    """Neither in a row of the table, nor in a record of the log: who reads them cannot confirm."""
    caplog.set_level(logging.DEBUG)
    token = preview(http)
    confirm(http, token, "oncall-2")
    confirm(http, token)
    confirm(http, token)
    http.get(f"/api/rollovers/individual.{DEVICE}.1")
    assert token not in json.dumps([row for row, _ in http.world.table.rows.values()], default=str)
    assert token not in caplog.text
    assert "breach_previewed" in caplog.text


OTHERWISE: dict[str, dict[str, Any]] = {
    "another device": {**CALL, "registration_id": OTHER},
    "another selector of the same device": {"device_id": DEVICE, "reason": "laptop stolen", "ticket": "INC-7"},
    "another mode": {**CALL, "mode": "disable"},
    "another slot": {**CALL, "compromised": ["primary"]},
    "another reason": {**CALL, "reason": "x"},
    "another ticket": {**CALL, "ticket": "INC-8"},
    "no ticket": {"registration_id": DEVICE, "reason": "laptop stolen"},
    "only a mode": {"mode": "remove"},
    "a member that there is not": {**CALL, "force": True},
}


@pytest.mark.parametrize("members", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_a_token_confirms_no_call_with(members, http):
    token = preview(http)
    before = outside(http.world)
    assert confirm(http, token, **members).status == 400
    assert outside(http.world) == before


def test_the_call_itself_may_stand_beside_its_token(http):
    token = preview(http)
    assert confirm(http, token, **{**CALL, "registration_id": f" {DEVICE} "}, mode="remove").status == 202


# --- the world in between ---------------------------------------------------------------------------------------------


def _edit(**changes: Any) -> Callable[[World], None]:
    return lambda world: world.dps.edit(DEVICE, lambda body: body.update(changes))


def _new_slot(slot: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        held = {"primary": OLD, "secondary": OLD, slot: STRANGER}
        world.dps.enroll(DEVICE, held["primary"], held["secondary"])

    return change


def _issued_by_ca(world: World) -> None:
    for one in ("primary", "secondary"):
        world.dps.enrolled[DEVICE]["attestation"]["x509"]["clientCertificates"][one]["info"]["issuerName"] = "CN=CA"


CHANGED: dict[str, tuple[Callable[[World], Any], list[str]]] = {
    "another certificate in the primary slot": (_new_slot("primary"), ["slot primary", "compromised"]),
    "another certificate in the secondary slot": (_new_slot("secondary"), ["slot secondary", "compromised"]),
    "the enrollment disabled": (_edit(provisioningStatus="disabled"), ["enrollment enabled"]),
    "a rollover begun": (begin, ["preempts"]),
    "a group that admits the certificate": (lambda world: world.dps.enroll_group("g1", OLD), ["escape routes"]),
    "another device ID": (
        lambda world: world.dps.registrations[DEVICE].update(deviceId="renamed"),
        ["device_id"],
    ),
    "a second identity with the certificate": (
        lambda world: world.hub.provision("dev-03", OLD_256),
        ["escape routes"],
    ),
}


@pytest.mark.parametrize(("change", "expected"), CHANGED.values(), ids=CHANGED.keys())
def test_nothing_is_done_and_exactly_the_difference_is_said_after(change, expected, http):
    _issued_by_ca(http.world)
    token = preview(http)
    change(http.world)
    before, begun = outside(http.world), rollovers(http.world)
    answer = confirm(http, token)
    assert answer.status == 409
    assert [one["what"] for one in answer.json["difference"]] == [f"{DEVICE}: {what}" for what in expected]
    assert all(one["previewed"] != one["now"] for one in answer.json["difference"])
    assert (outside(http.world), rollovers(http.world)) == (before, begun)


def test_an_enrollment_that_was_enabled_since_is_a_difference(http):
    _edit(provisioningStatus="disabled")(http.world)
    token = preview(http)
    _edit(provisioningStatus="enabled")(http.world)
    [difference] = confirm(http, token).json["difference"]
    assert difference == {"what": f"{DEVICE}: enrollment enabled", "previewed": False, "now": True}


def test_an_enrollment_that_is_gone_is_a_difference(http):
    token = preview(http)
    del http.world.dps.enrolled[DEVICE]
    answer = confirm(http, token)
    assert (answer.status, answer.json["difference"][0]["what"]) == (409, "selection")
    assert "dev-01" in answer.json["difference"][0]["now"]


@pytest.mark.parametrize("more", [True, False])
def test_one_device_more_or_less_is_a_difference(more, http):
    token = preview(http, **SHARED)
    if more:
        http.world.dps.enroll("dev-03", OLD)
    else:
        http.world.dps.enroll(OTHER, STRANGER)
    [difference] = confirm(http, token).json["difference"]
    name = "dev-03" if more else OTHER
    assert difference == {"what": f"{name}: selected", "previewed": not more, "now": more}
    assert rollovers(http.world) == []


UNCHANGED: dict[str, Callable[[World], Any]] = {
    "the thief registered": lambda world: world.hub.provision(DEVICE, STRANGER_256),
    "the device registered with another certificate": lambda world: world.dps.registered(DEVICE),
    "somebody connected": lambda world: world.hub.put(DEVICE, OLD_256, OLD_256, connected=True),
    "a message was queued": lambda world: world.hub.put(DEVICE, OLD_256, OLD_256, queued_messages=5),
    "the identity is gone": lambda world: world.hub.identities.pop(DEVICE),
    "the vault has a new version": lambda world: world.vault.kept[CERTIFICATE].versions.append(NEW),
    "somebody wrote the enrollment without changing what matters": _edit(capabilities={"iotEdge": False}),
    "another device's enrollment": lambda world: world.dps.enroll("dev-03", STRANGER),
    "a group of symmetric keys": lambda world: world.dps.grouped.update(
        {
            "g9": {
                "enrollmentGroupId": "g9",
                "attestation": {"type": "symmetricKey"},
                "provisioningStatus": "enabled",
                "etag": "1",
            }
        }
    ),
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_it_is_done_all_the_same_when(change, http):
    """A thief must not be able to keep a preview from being confirmed."""
    token = preview(http)
    change(http.world)
    assert confirm(http, token).status == 202
    assert http.world.dps.enrolled[DEVICE]["provisioningStatus"] == "disabled"


# --- a confirmation that is cut off -----------------------------------------------------------------------------------


class Killed(BaseException):
    """The host died."""


def _dies_at(world: World, number: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Callable[[], int]:
    """The table takes ``number`` writes and fails at the next one, before it or (odd) with the write done."""
    commit, made = world.table.commit, [0]

    def failing(writes: Any) -> list[str]:
        made[0] += 1
        if made[0] == number // 2 + 1:
            if number % 2:
                commit(writes)
            raise error
        return commit(writes)

    monkeypatch.setattr(world.table, "commit", failing)
    return lambda: made[0]


@pytest.mark.parametrize("error", [Killed(), ServiceUnavailable("table gave no answer")], ids=["killed", "outage"])
@pytest.mark.parametrize("number", range(28))
def test_a_confirmation_that_was_cut_off_at_any_write_is_finished_by_the_same_token(number, error, http, monkeypatch):
    token = preview(http, **SHARED)
    with monkeypatch.context() as dying:
        writes = _dies_at(http.world, number, dying, error)
        with suppress(Killed):
            confirm(http, token)
        reached = writes() > number // 2
    http.world.clock.advance(timedelta(minutes=3))  # a step that was under way has its lease
    answer = confirm(http, token)
    assert answer.status == 202, answer.json
    assert rollovers(http.world) == [f"individual.{one}.rollover.000001" for one in (DEVICE, OTHER)]
    assert {one["provisioningStatus"] for one in http.world.dps.enrolled.values()} == {"disabled"}
    assert reached or number > 12, "some of these writes must be there to be cut off at"


def test_what_the_first_of_two_has_done_meanwhile_is_no_difference(http, monkeypatch):
    """It was begun before the host died, and has come to its end when the same token comes again."""
    token = preview(http, **SHARED)
    with monkeypatch.context() as dying:
        _dies_at(http.world, 4, dying, Killed())
        with pytest.raises(Killed):
            confirm(http, token)
    assert len(rollovers(http.world)) == 1
    http.world.dps.enroll(DEVICE, NEW)
    del http.world.hub.identities[DEVICE]
    assert confirm(http, token).status == 202
    assert len(rollovers(http.world)) == 2
