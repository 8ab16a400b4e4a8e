"""The probe of real services; and the proof, against the stand-in, that it measures what it says."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.azure.knobs import Knobs
from tests.contract.meter import Meter
from tests.contract.probe import probing
from tests.contract.probe.findings import BELIEVED, NOT_ASKED, Finding, knob, settings, table, write
from tests.contract.probe.probing import Probe
from tests.contract.reasons import FAULTS, KNOBS, OURS
from tests.contract.target import Pace, Target, at
from tests.standin import StandIn

FOUND = Path("contract-findings")
TURNED: dict[str, Any] = {
    "mirror_lone_primary": False,
    "mirror_lone_secondary": True,
    "hub_slots": "enrollment",
    "never_policy_refreshes_thumbprint": True,
    "drop_session_on_thumbprint_change": True,
    "same_certificate_in_two_enrollments": "allow",
    "expired_certificate_at_put": "refuse",
    "info_mismatch_at_put": "keep",
    "promote_by_info_swap": True,
    "individual_leaf_needs_verified_ca": True,
    "reregistration_reenables_identity": True,
    "auth_propagation_s": 0.4,
    "hub_refusal": "tls",
    "service_retry_after": False,
    "register_auth_cache_s": 1.2,
    "assign_delay_s": 0.7,
    "hub_query_lag_s": 0.6,
    "certificate_create_s": 0.6,
    "null_members": "null",
    "identity_drop_delay_s": 0.5,
    "connection_state_lag_s": 0.4,
    "disabling_stops_registration": True,
    "certificate_delete_s": 0.6,
    "unknown_ca_reference": "accept",
}
EARLY, LATE_S = 0.6, 1.0
"""A measured time may be this part of the true one, or so much more: it looks every tenth of a second, and the machine
may be busy. Where nothing is in force, nothing must be found."""


def probed(target: Target, folder: Path) -> tuple[Probe, str]:
    """One run, and what it asked."""
    probe = Probe(target, folder)
    with Meter().running() as meter:
        probe.run()
    return probe, meter.in_words()


def on_the_standin(azure: StandIn, knobs: dict[str, Any]) -> Target:
    """With those knobs; its quotas are those of S1, but a device may look after its registration more often."""
    azure.control.patch("/throttles", {"hub_tier": "S1", "limits": {"dps/poll": {"amount": 1000, "per_s": 10}}})
    azure.control.patch("/knobs", knobs)
    return dataclasses.replace(at(azure), pace=Pace(poll=0.05, patience=10, quiet=0.9))


def expect(probe: Probe, in_force: dict[str, Any]) -> None:
    """Exactly the knobs that are in force, and nothing that does not belong to one."""
    assert probe.failed == []
    found = settings(probe.findings)
    assert set(found) == set(TURNED)
    wrong = {name: (found[name], in_force[name]) for name in found if not _agree(found[name], in_force[name])}
    assert not wrong, f"found and in force: {wrong}"


def _agree(found: Any, in_force: Any) -> bool:
    if isinstance(in_force, float) and in_force:
        return EARLY * in_force <= found <= in_force + LATE_S
    return bool(found == in_force)


def test_the_probe(target: Target, tmp_path: Path, report: Callable[[str], None] | None) -> None:
    """Settles the knobs on what the environment names. On the stand-in it must find those that are in force."""
    if target.standin is not None:
        target = on_the_standin(target.standin, {})
    probe, asked = probed(target, tmp_path)
    findings = probe.findings
    if report:
        write(findings, asked, FOUND)
        report(f"The probe asked: {asked}.\n\n{table(findings)}\n\nWritten to {FOUND}/: knobs.json, table.txt.\n")
    assert probe.failed == []
    if target.standin is not None:
        expect(probe, BELIEVED)
        surprises = [one for one in findings if not one.of_a_knob and one.found != one.believed]
        assert [one.name for one in surprises if not isinstance(one.found, float)] == []


@KNOBS
def test_the_probe_finds_every_knob_that_was_turned_round(azure: StandIn, tmp_path: Path) -> None:
    """Otherwise it would only say what we believe. What it found can be PATCHed, and is the same again."""
    probe, _ = probed(on_the_standin(azure, TURNED), tmp_path)
    expect(probe, BELIEVED | TURNED)
    after = azure.control.patch("/knobs", settings(probe.findings))
    assert {name: after[name] for name in TURNED if not isinstance(TURNED[name], float)} == {
        name: value for name, value in TURNED.items() if not isinstance(value, float)
    }


@FAULTS
def test_what_the_probe_could_not_ask_does_not_take_the_other_answers_along(
    azure: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on a subscription is dear: it ends with a table, and says which part is missing."""
    azure.control.post("/faults", {"kind": "status", "service": "keyvault", "status": 403, "times": 99})
    monkeypatch.setattr(probing, "PHASES", ("first_entry", "vault", "forms"))
    probe, _ = probed(on_the_standin(azure, {}), tmp_path)
    assert [line.split(":")[0] for line in probe.failed] == ["vault"]
    assert set(settings(probe.findings)) == {"mirror_lone_primary", "null_members", "service_retry_after"}


@KNOBS
@pytest.mark.proof
@pytest.mark.parametrize("name", TURNED)
def test_the_probe_finds_each_knob_turned_alone(azure: StandIn, tmp_path: Path, name: str, whole: bool) -> None:
    """No finding leans on another knob's setting."""
    if whole:
        probe, _ = probed(on_the_standin(azure, {name: TURNED[name]}), tmp_path)
        expect(probe, BELIEVED | {name: TURNED[name]})


@OURS
def test_every_knob_is_probed_or_has_a_reason_not_to_be() -> None:
    """A new knob wants a place in the probe."""
    assert set(TURNED) | set(NOT_ASKED) == {field.name for field in dataclasses.fields(Knobs)}
    assert not set(TURNED) & set(NOT_ASKED)
    assert not [name for name, value in TURNED.items() if value == BELIEVED[name]]


@OURS
def test_the_table_marks_what_nobody_expected(tmp_path: Path) -> None:
    findings = [
        knob("hub_slots", "enrollment"),
        knob("mirror_lone_primary", True),
        knob("assign_delay_s", 4.26, "assigned"),
        knob("auth_propagation_s", 12.0),
        knob("certificate_create_s", None, "no vault is named"),
        Finding("x-ms-item-type of enrollments", "enrollment", "Enrollment"),
    ]
    assert table(findings).splitlines()[:6] == [
        "! hub_slots: enrollment (believed: same)",
        "  mirror_lone_primary: true (believed: true)",
        "  assign_delay_s: 4.3 (believed: 0.3)  [assigned]",
        "! auth_propagation_s: 12.0 (believed: 0.0)",
        "  certificate_create_s: not settled (believed: 0.3)  [no vault is named]",
        "! x-ms-item-type of enrollments: enrollment (believed: Enrollment)",
    ]
    write(findings, "nothing", tmp_path)
    known = Knobs()
    known.patch(settings(findings))
    assert (known.hub_slots, known.auth_propagation_s, known.certificate_create_s) == ("enrollment", 12.0, 0.3)
    assert "certificate_create_s" not in (tmp_path / "knobs.json").read_text()
