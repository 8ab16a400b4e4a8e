"""Which certificate a Key Vault event is about; whatever comes, an answer or BadInput."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.certificate_event import EVENT_TYPES, certificate_of, take_event
from shared.errors import BadInput
from tests.builders import CERTIFICATE, DEVICE, NEW, OLD, a_story, the_rollover
from tests.certificates import NOW
from tests.fakes import Kept

VAULT = "https://vault.example"
NEAR, NEW_VERSION, EXPIRED = EVENT_TYPES
ID = f"{VAULT}/certificates/dev-01-cert/0123456789abcdef0123456789abcdef"
SAMPLES = Path(__file__).parent / "samples"


def name_in(data: Any, *, subject: str | None = None, kind: str | None = NEAR, vault: str = VAULT) -> str:
    return certificate_of(kind, subject, data, vault)


# --- the samples that are public --------------------------------------------------------------------------------


def test_the_published_cloud_event_names_its_certificate():
    """NBF and EXP are numbers, the subject is the bare name (a public certificate-lifecycle repository)."""
    text = (SAMPLES / "keyvault_certificate_near_expiry_cloudevent.json").read_text()
    for placeholder, value in (
        ("<key vault name>", "kv"),
        ("<certificate name>", "pump"),
        ("<certificate version>", "a"),
    ):
        text = text.replace(placeholder, value)
    event = json.loads(text)["data"]
    assert certificate_of(event["type"], event["subject"], event["data"], "https://kv.vault.azure.net") == "pump"


def test_the_published_event_of_the_event_grid_schema_names_its_certificate():
    """ObjectType is missing in this one (a public runbook's test payload)."""
    event = json.loads((SAMPLES / "keyvault_certificate_new_version_eventgrid.json").read_text())["data"][0]
    found = certificate_of(event["eventType"], event["subject"], event["data"], "https://contoso-kv.vault.azure.net")
    assert found == "SPOCert"


# --- the traps of the documentation -----------------------------------------------------------------------------

FULL = {"Id": ID, "VaultName": "vault", "ObjectType": "Certificate", "ObjectName": CERTIFICATE, "Version": "a"}
READABLE: dict[str, Any] = {
    "everything as documented": FULL,
    "keys with trailing blanks and values with leading ones": {f"{k} ": f" {v}" for k, v in FULL.items()},
    "keys in lower case": {k.lower(): v for k, v in FULL.items()},
    "times as texts": {**FULL, "NBF": "1559081980", "EXP": "1559082102"},
    "times as numbers": {**FULL, "NBF": 1559081980, "EXP": 1559082102},
    "no times": {**FULL, "NBF": None, "EXP": None},
    "no ID": {k: v for k, v in FULL.items() if k != "Id"},
    "an ID that is null": {**FULL, "Id": None},
    "an ID without version": {**FULL, "Id": f"{VAULT}/certificates/{CERTIFICATE}"},
    "an ID in other letters where hosts are": {**FULL, "Id": ID.replace("vault.example", "VAULT.Example")},
    "only an ID": {"Id": ID},
    "members of a later release": {**FULL, "Reason": {"code": 1}},
}


@pytest.mark.parametrize("data", READABLE.values(), ids=READABLE.keys())
def test_the_certificate_is_named_by_data_with(data):
    """azure-docs event-schema-key-vault: its sample has ``"ObjectName "``, ``" ee05..."`` and times as texts."""
    assert name_in(data) == CERTIFICATE


SUBJECTS = {
    "the bare name": CERTIFICATE,
    "a path": f"certificates/{CERTIFICATE}/0123456789abcdef",
    "a path without version": f"certificates/{CERTIFICATE}",
    "with blanks around": f" {CERTIFICATE} ",
}


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS.keys())
def test_without_id_and_object_name_the_subject_names_it_as(subject):
    assert name_in({"VaultName": "vault"}, subject=subject) == CERTIFICATE


@pytest.mark.parametrize("kind", [*EVENT_TYPES, f" {NEAR} "])
def test_is_an_event_of_ours(kind):
    assert name_in(FULL, kind=kind) == CERTIFICATE


NOT_OURS: dict[str, tuple[Any, str | None, str]] = {
    "the twin of the secret behind the certificate": (FULL, "Microsoft.KeyVault.SecretNearExpiry", "event type"),
    "another service's event": (FULL, "Microsoft.Devices.DeviceConnected", "event type"),
    "no type": (FULL, None, "event type"),
    "another vault's ID": ({**FULL, "Id": ID.replace("vault.", "other.")}, NEAR, "about the vault 'other.example'"),
    "another vault's name and no ID": ({**FULL, "Id": None, "VaultName": "other"}, NEAR, "other"),
    "an ID that is no address": ({**FULL, "Id": "https://[vault"}, NEAR, "vault"),
    "an ID that is only a path": ({**FULL, "Id": "/certificates/x"}, NEAR, "vault"),
    "no data": (None, NEAR, "no data object"),
    "a list as data": ([FULL], NEAR, "no data object"),
    "a text as data": (json.dumps(FULL), NEAR, "no data object"),
    "nothing that names a certificate": ({}, NEAR, "names no certificate"),
    "a name that no certificate can have": ({"ObjectName": "../secrets/dev-01"}, NEAR, "name"),
    "a name that is an object": ({"ObjectName": {"a": 1}}, NEAR, "name"),
    "a name that is endless": ({"ObjectName": "x" * 5000}, NEAR, "name"),
}


@pytest.mark.parametrize(("data", "kind", "said"), NOT_OURS.values(), ids=NOT_OURS.keys())
def test_is_refused(data, kind, said):
    """Certificate names are 1 to 127 letters, digits and dashes (azure-docs: about Key Vault object identifiers)."""
    with pytest.raises(BadInput, match=said):
        name_in(data, kind=kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["Id", "id ", "ObjectName", "VaultName", "Version", "NBF"]) | st.text()
addresses = st.builds(
    "{}{}".format, st.sampled_from(["https://", "https://vault.example/", "//", "https://["]), st.text()
)


@given(
    st.none() | st.sampled_from(EVENT_TYPES) | st.text(),
    st.none() | st.text(),
    json_values | st.dictionaries(keys, json_values | addresses, max_size=5),
)
@example(NEAR, None, {"Id": "https://[vault"})
def test_hostile_events_name_a_certificate_or_are_bad_input(kind, subject, data):
    with contextlib.suppress(BadInput):
        assert certificate_of(kind, subject, data, VAULT)


# --- what becomes of an event -----------------------------------------------------------------------------------


def send(world, data: Any = FULL, *, kind: str = NEAR) -> None:
    take_event(kind, "event-1", "/subscriptions/x/vaults/vault", CERTIFICATE, data, world.services)


def test_an_event_begins_a_rollover_with_the_event_as_its_cause():
    world = a_story()
    send(world)
    rollover = the_rollover(world)
    assert rollover.cause.startswith("event CertificateNearExpiry")
    assert rollover.registration_id == DEVICE


def test_an_event_that_is_repeated_begins_nothing_twice():
    world = a_story()
    for _ in range(5):
        send(world)
    assert [r.id for r in world.services.ledger.rollovers()] == [f"individual.{DEVICE}.1"]


def test_an_event_about_a_certificate_that_is_fine_begins_nothing():
    """An event is a hint: what it says is read again."""
    world = a_story()
    world.vault.kept[CERTIFICATE] = Kept([NEW])
    world.dps.enroll(DEVICE, NEW)
    world.hub.provision(DEVICE, NEW.sha256_thumbprint)
    send(world, {**FULL, "EXP": int(NOW.timestamp())})
    assert list(world.services.ledger.rollovers()) == []
    assert world.services.ledger.refused_inputs() == []


def test_an_event_that_is_not_ours_is_recorded_with_its_reason_and_nothing_else_happens():
    world = a_story()
    send(world, {**FULL, "Id": ID.replace("vault.", "other.")})
    send(world, {**FULL, "Id": ID.replace("vault.", "other.")})
    [refused] = world.services.ledger.refused_inputs()
    assert (refused.source, refused.count) == ("event", 2)
    assert "other.example" in refused.reason
    assert "vaults/vault" in refused.subject
    assert world.nudges.sent == []


@given(st.text(), st.none() | st.text(), json_values)
def test_whatever_an_event_says_recording_it_never_fails(kind, subject, data):
    world = a_story()
    take_event(kind, subject, subject, subject, data, world.services)
    assert OLD.sha256_thumbprint in world.dps.slots(DEVICE)
