"""The product's own clients against the stand-in: what they list, page by page."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from azure.identity import ManagedIdentityCredential
from azure.iot.hub.models import QueryResult, Twin, X509Thumbprint
from azure.keyvault.certificates import CertificateClient, CertificatePolicy
from urllib3.connection import HTTPSConnection

from local.azure.x509 import sha1_thumbprint, sha256_thumbprint
from shared.certificate import parse_certificate
from shared.clients import hub, provisioning
from shared.clients.hub import HubClient
from shared.clients.provisioning import ProvisioningClient
from shared.clients.topic import TopicClient
from shared.clients.vault import VaultClient
from shared.enrollment import Accepted, Slot
from shared.errors import Conflict, NotAllowed, NotFound, ServiceUnavailable
from shared.tracing import within
from tests.certificates import NOW
from tests.contract.dps_kit import (
    Device,
    NotingHub,
    add_ca,
    self_signed,
    service,
    x509_enrollment,
    x509_group,
)
from tests.contract.iothub_parts import Rest, certificate
from tests.contract.reasons import CLIENTS
from tests.emitted import a_traceparent, emitting
from tests.fakes import some_settings
from tests.standin import StandIn

pytestmark = CLIENTS

ROOT = self_signed("Root", ca=True)
LEAF, OTHER = ROOT.issue("dev1"), self_signed("dev2")


@pytest.fixture
def dps(azure: StandIn) -> ProvisioningClient:
    settings = some_settings()
    object.__setattr__(settings, "dps_endpoint", azure.endpoints["dps"]["service_url"])
    return ProvisioningClient(settings, ManagedIdentityCredential())


@pytest.fixture
def iothub(azure: StandIn) -> HubClient:
    settings = some_settings()
    object.__setattr__(settings, "hub_hostname", azure.world.names.hub_host)
    return HubClient(settings, ManagedIdentityCredential())


def test_the_hub_is_called_over_one_connection(
    azure: StandIn, iothub: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a fleet's twins is a call for each: a handshake for each would take longer than the calls."""
    made, connect = [], HTTPSConnection.connect
    monkeypatch.setattr(HTTPSConnection, "connect", lambda self: (made.append(self.host), connect(self))[1])
    for number in range(5):
        assert iothub.shown(f"nobody-{number}") is None
    assert made.count(azure.world.names.hub_host.partition(":")[0]) == 1


@pytest.mark.parametrize("nulls", ["omit", "null"])
def test_every_enrollment_is_listed_page_by_page(
    azure: StandIn, dps: ProvisioningClient, monkeypatch: pytest.MonkeyPatch, nulls: str
) -> None:
    """azure-iot-sdk-csharp: x-ms-continuation. The names are those of the certificate, as .NET writes them."""
    monkeypatch.setattr(provisioning, "PAGE", 2)
    azure.control.patch("/knobs", {"null_members": nulls, "same_certificate_in_two_enrollments": "allow"})
    there = service(azure).enrollment
    for number in range(5):
        body = x509_enrollment(f"dev{number}", LEAF, OTHER, provisioningStatus="disabled" if number else "enabled")
        there.create_or_update(f"dev{number}", body)
    there.create_or_update("key", {"registrationId": "key", "attestation": {"type": "symmetricKey"}})
    found = {one.registration_id: one for one in dps.enrollments()}
    assert sorted(found) == ["dev0", "dev1", "dev2", "dev3", "dev4", "key"]
    assert [found["dev0"].enabled, found["dev1"].enabled] == [True, False]
    primary, secondary = found["dev3"].slots[Slot.PRIMARY], found["dev3"].slots[Slot.SECONDARY]
    assert primary is not None
    assert secondary is not None
    assert (primary.subject, primary.issuer, primary.self_issued) == ("CN=dev1", "CN=Root", False)
    assert (secondary.subject, secondary.self_issued) == ("CN=dev2", True)
    assert found["key"].certificates() == []


@pytest.mark.parametrize("nulls", ["omit", "null"])
def test_every_group_is_listed_page_by_page(
    azure: StandIn, dps: ProvisioningClient, monkeypatch: pytest.MonkeyPatch, nulls: str
) -> None:
    """The same for groups: by certificate, by the name of a CA, and with keys."""
    monkeypatch.setattr(provisioning, "PAGE", 1)
    azure.control.patch("/knobs", {"null_members": nulls})
    add_ca(azure, "ca-1", ROOT)
    there = service(azure).enrollment_group
    there.create_or_update("by-certificate", x509_group("by-certificate", ROOT, provisioningStatus="disabled"))
    there.create_or_update("by-name", x509_group("by-name", "ca-1"))
    there.create_or_update("key", {"enrollmentGroupId": "key", "attestation": {"type": "symmetricKey"}})
    found = {one.enrollment_group_id: one for one in dps.groups()}
    assert sorted(found) == ["by-certificate", "by-name", "key"]
    primary = found["by-certificate"].signing[Slot.PRIMARY]
    assert primary is not None
    assert (primary.subject, primary.sha256_thumbprint) == ("CN=Root", ROOT.sha256)
    assert [found["by-certificate"].enabled, found["by-name"].enabled] == [False, True]
    assert (found["by-name"].ca_references, found["by-certificate"].ca_references) == (("ca-1",), ())
    assert [found[name].attestation for name in ("by-name", "key")] == ["x509", "symmetricKey"]


def test_an_empty_dps_lists_nothing(dps: ProvisioningClient) -> None:
    assert (list(dps.enrollments()), list(dps.groups())) == ([], [])


def test_a_query_that_is_refused_is_one_of_our_errors(azure: StandIn, dps: ProvisioningClient) -> None:
    azure.control.post("/faults", {"kind": "status", "operation": "QueryGroups", "status": 503, "times": 9})
    with pytest.raises(ServiceUnavailable):
        list(dps.groups())


def test_holders_are_found_in_either_slot_by_either_hash_page_by_page(
    azure: StandIn, iothub: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """azure-iot-sdk-java#253 shows x509Thumbprint in twins; that a query can filter by it is a guess."""
    monkeypatch.setattr(hub, "PAGE", 1)
    rest, wanted, other = Rest(azure), certificate(), certificate()
    rest.create("first", wanted, other)
    rest.create("second", other, wanted)
    rest.create("both", wanted, wanted)
    rest.create("disabled", wanted, status="disabled")
    rest.create("nobody", other, other)
    _pin(rest, "by-sha1", sha1_thumbprint(wanted.der))
    rest.call("PUT", "/devices/keys", {"deviceId": "keys", "authentication": {"type": "sas"}})
    thumbprints = [sha256_thumbprint(wanted.der).lower(), sha1_thumbprint(wanted.der)]
    assert iothub.holders(thumbprints) == ["both", "by-sha1", "disabled", "first", "second"]
    assert iothub.holders([]) == []


def test_a_thumbprint_that_was_written_in_lower_case_is_found(azure: StandIn, iothub: HubClient) -> None:
    """Whether the hub keeps the case is not documented."""
    wanted = sha256_thumbprint(certificate().der)
    _pin(Rest(azure), "lower", wanted.lower())
    assert iothub.holders([wanted]) == ["lower"]


def test_many_thumbprints_are_asked_for_in_queries_that_the_hub_takes(azure: StandIn, iothub: HubClient) -> None:
    """docs, quotas and throttling: 8,192 characters."""
    wanted = certificate()
    Rest(azure).create("one", wanted)
    assert iothub.holders([f"{number:064X}" for number in range(150)] + [sha256_thumbprint(wanted.der)]) == ["one"]


def test_a_hub_that_does_not_filter_is_filtered_here(iothub: HubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """That x509Thumbprint can be filtered by is a guess: rows that were not asked for, or show nothing, do no harm."""
    rows = [
        Twin(device_id="holder", x509_thumbprint=X509Thumbprint(primary_thumbprint="ab", secondary_thumbprint=None)),
        Twin(device_id="other", x509_thumbprint=X509Thumbprint(primary_thumbprint="CD", secondary_thumbprint="EF")),
        Twin(device_id="keys"),
    ]

    def query(*_: object) -> QueryResult:
        result = QueryResult()
        result.items, result.continuation_token = rows, None
        return result

    monkeypatch.setattr(iothub._registry, "query_iot_hub", query)
    assert iothub.holders(["AB"]) == ["holder"]


def test_what_the_hub_indexes_late_is_found_late(azure: StandIn, iothub: HubClient) -> None:
    """docs, query language: eventually consistent. So a holder that is not found may be there all the same."""
    azure.control.patch("/knobs", {"hub_query_lag_s": 60})
    wanted = certificate()
    Rest(azure).create("late", wanted)
    assert iothub.holders([sha256_thumbprint(wanted.der)]) == []
    azure.world.clock.advance(timedelta(seconds=61))
    assert iothub.holders([sha256_thumbprint(wanted.der)]) == ["late"]


def test_a_principal_without_a_role_is_not_allowed(azure: StandIn, dps: ProvisioningClient) -> None:
    azure.control.post("/faults", {"kind": "status", "operation": "QueryEnrollments", "status": 403, "times": 9})
    with pytest.raises(NotAllowed):
        list(dps.enrollments())


def _pin(rest: Rest, device_id: str, thumbprint: str) -> None:
    authentication = {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": thumbprint}}
    answer = rest.call("PUT", f"/devices/{device_id}", {"deviceId": device_id, "authentication": authentication})
    assert answer.status_code == 200, answer.text


def test_an_identity_is_read_with_all_that_a_containment_looks_at(azure: StandIn, iothub: HubClient) -> None:
    """REST: Devices - Get Identity. The year 1 stands for a connection that never was."""
    made = Rest(azure).create("dev", certificate(), statusReason="lent", status="disabled")
    azure.control.post("/queued-messages", {"device_id": "dev", "count": 3})
    found = iothub.identity("dev")
    assert found is not None
    assert (found.enabled, found.status_reason, found.connected) == (False, "lent", False)
    assert (found.generation, found.queued_messages, found.connection_changed) == (made["generationId"], 3, None)
    assert iothub.identity("nobody") is None


@pytest.mark.parametrize("kind", ["selfSigned", "certificateAuthority"])
def test_disabling_and_enabling_an_identity_changes_nothing_else(azure: StandIn, iothub: HubClient, kind: str) -> None:
    """azure-iot-hub rewrites the identity whole: what is not sent is gone."""
    rest, made = Rest(azure), certificate()
    pinned = {"x509Thumbprint": {"primaryThumbprint": sha256_thumbprint(made.der)}} if kind == "selfSigned" else {}
    authentication = {"type": kind, **pinned}
    more = {"capabilities": {"iotEdge": True}, "deviceScope": "scope-1", "parentScopes": ["parent-1"]}
    rest.call("PUT", "/devices/dev", {"deviceId": "dev", "authentication": authentication, **more})
    before = rest.call("GET", "/devices/dev").json()
    read = iothub.identity("dev")
    assert read is not None
    iothub.rewrite(replace(read, enabled=False, status_reason="contained by incident-1"))
    disabled = rest.call("GET", "/devices/dev").json()
    changed = {"etag", "status", "statusReason", "statusUpdatedTime"}
    assert {name for name in before if before[name] != disabled[name]} == changed
    with pytest.raises(Conflict):
        iothub.rewrite(read)
    read = iothub.identity("dev")
    assert read is not None
    iothub.rewrite(replace(read, enabled=True, status_reason=None))
    after = rest.call("GET", "/devices/dev").json()
    assert {name for name in before if before[name] != after[name]} == {"etag", "statusUpdatedTime"}


def test_an_identity_is_deleted_only_as_it_was_read(azure: StandIn, iothub: HubClient) -> None:
    """docs: the registry's optimistic concurrency. Its twin goes with it (azure-docs#75861)."""
    Rest(azure).create("dev", certificate())
    read = iothub.identity("dev")
    assert read is not None
    iothub.rewrite(replace(read, enabled=False))
    with pytest.raises(Conflict):
        iothub.delete(read)
    read = iothub.identity("dev")
    assert read is not None
    iothub.delete(read)
    assert (iothub.identity("dev"), iothub.twin("dev")) == (None, None)
    with pytest.raises(NotFound):
        iothub.delete(read)


TAGS = {"site": "Oslo", "rack": {"row": 4, "ø": [1, 2.5, True, "x"]}, "empty": {}}
DESIRED = {"interval": 30, "limits": {"low": -1.5, "high": 1e3, "list": [[], {"deep": None}]}, "text": 'a "quoted" one'}


def test_a_twin_is_the_same_to_the_last_byte_on_an_identity_that_was_made_anew(
    azure: StandIn, iothub: HubClient
) -> None:
    """docs: Understand and use device twins; $metadata and $version are the hub's own."""
    rest = Rest(azure)
    rest.create("dev", certificate())
    rest.call("PUT", "/twins/dev", {"tags": TAGS, "properties": {"desired": DESIRED}}, If_Match='"*"')
    kept = iothub.twin("dev")
    assert kept is not None
    assert (kept.tags, kept.desired) == (TAGS, DESIRED)
    read = iothub.identity("dev")
    assert read is not None
    iothub.delete(read)
    rest.create("dev", certificate())
    rest.call("PATCH", "/twins/dev", {"tags": {"made": "by DPS"}, "properties": {"desired": {"interval": 1}}})
    anew = iothub.twin("dev")
    assert anew is not None
    assert not anew.equals(kept)
    iothub.replace_twin("dev", anew, kept)
    restored = iothub.twin("dev")
    assert restored is not None
    assert restored.equals(kept)
    with pytest.raises(Conflict):
        iothub.replace_twin("dev", anew, kept)


def test_every_version_of_the_vault_is_known_by_both_hashes(azure: StandIn) -> None:
    """The vault lists SHA-1 (x5t); DPS writes SHA-256 to the hub: each version is read for it."""
    url, credential = azure.endpoints["keyvault"]["url"], ManagedIdentityCredential()
    azure.control.patch("/knobs", {"certificate_create_s": 0.0})
    admin = CertificateClient(url, credential, verify_challenge_resource=False)
    policy = CertificatePolicy(issuer_name="Self", subject="CN=dev-01")
    made = [admin.begin_create_certificate("dev-01", policy, _polling_interval=0.1).result() for _ in range(2)]
    vault = VaultClient(replace(some_settings(), vault_url=url, verify_challenge_resource=False), credential)
    shown = {sha1: vault.sha256_thumbprint("dev-01", version) for sha1, version in vault.versions("dev-01").items()}
    assert shown == {sha1_thumbprint(bytes(one.cer)): sha256_thumbprint(bytes(one.cer)) for one in made}


def test_a_lifecycle_event_is_a_cloud_event_of_the_trace_that_it_is_published_in(azure: StandIn) -> None:
    """The extension for distributed tracing is CloudEvents' own: spec, extensions/distributed-tracing."""
    settings = some_settings()
    object.__setattr__(settings, "topic_endpoint", azure.endpoints["eventgrid"]["topic_endpoint"])
    topic = TopicClient(settings, ManagedIdentityCredential())
    trace = a_traceparent()
    with emitting(), within(trace):
        topic.publish("individual.dev-01.1/2", "Rollover.Refused", "dev-01", {"urgency": "ticket"}, NOW)
    topic.publish("individual.dev-01.1/3", "Rollover.Refused", "dev-01", {"urgency": "ticket"}, NOW)
    traced, untraced = azure.control.get("/topic-events")
    assert traced.pop("receivedAt")
    assert datetime.fromisoformat(traced.pop("time")) == NOW
    assert traced == {
        "specversion": "1.0",
        "id": "individual.dev-01.1/2",
        "source": "/rollover",
        "type": "Rollover.Refused",
        "subject": "dev-01",
        "traceparent": trace,
        "data": {"urgency": "ticket"},
    }
    assert "traceparent" not in untraced


# --- what the product writes into groups --------------------------------------------------------------------------


@pytest.mark.parametrize("nulls", ["omit", "null"])
def test_a_group_s_slot_is_filled_and_cleared_and_the_other_is_kept(
    azure: StandIn, dps: ProvisioningClient, nulls: str
) -> None:
    """azure-iot-cli-extension dps.py: the other slot goes back with its info only; a null slot is cleared."""
    azure.control.patch("/knobs", {"null_members": nulls})
    first, second = self_signed("Line CA", ca=True), self_signed("Line CA", ca=True)
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", first, reprovisionPolicy=None))
    group = dps.group("g1")
    assert group is not None
    dps.replace_group(group, group.body_with(Slot.SECONDARY, parse_certificate(second.der)))
    both = dps.group("g1")
    assert both is not None
    assert {slot: one and one.sha256_thumbprint for slot, one in both.signing.items()} == {
        Slot.PRIMARY: first.sha256,
        Slot.SECONDARY: second.sha256,
    }
    dps.replace_group(both, both.body_with_status(enabled=False))
    shut = dps.group("g1")
    assert shut is not None
    assert (shut.enabled, shut.signing) == (False, both.signing)
    dps.replace_group(shut, shut.body_without(Slot.PRIMARY))
    last = dps.group("g1")
    assert last is not None
    assert {one.sha256_thumbprint for one in last.signing.values() if one} == {second.sha256}
    with pytest.raises(Conflict):
        dps.replace_group(both, both.body_with_status(enabled=True))


@pytest.mark.parametrize("nulls", ["omit", "null"])
def test_a_group_s_ca_references_are_swapped_one_by_one(azure: StandIn, dps: ProvisioningClient, nulls: str) -> None:
    """azure-docs how-to-roll-certificates: two names are the overlap of a CA roll."""
    azure.control.patch("/knobs", {"null_members": nulls})
    add_ca(azure, "ca-2024", ROOT)
    add_ca(azure, "ca-2027", self_signed("Root", ca=True))
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", "ca-2024"))
    group = dps.group("g1")
    assert group is not None
    dps.replace_group(group, group.body_naming(Slot.SECONDARY, "ca-2027"))
    both = dps.group("g1")
    assert both is not None
    assert both.ca_references == ("ca-2024", "ca-2027")
    dps.replace_group(both, both.body_without(Slot.PRIMARY))
    last = dps.group("g1")
    assert last is not None
    assert (last.ca_references, last.references[Slot.SECONDARY]) == (("ca-2027",), "ca-2027")


def test_the_devices_of_a_group_are_counted_by_their_registrations(
    azure: StandIn, dps: ProvisioningClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """REST: POST /registrations/{groupId}/query, page by page."""
    monkeypatch.setattr(provisioning, "PAGE", 1)
    NotingHub.in_place_of_the_hub(azure, monkeypatch)
    add_ca(azure, "ca-1", ROOT)
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", "ca-1"))
    assert dps.count_members("g1") == [0]
    for name in ("dev1", "dev2"):
        assert Device(azure, name, ROOT.issue(name), tmp_path).register()["status"] == "assigned"
    assert dps.count_members("g1", NOW - timedelta(days=9999), NOW + timedelta(days=9999)) == [2, 2, 0]


def test_what_the_hub_pins_is_shown_page_by_page(
    azure: StandIn, iothub: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs, "Get twins by querying": authenticationType and x509Thumbprint are members of a twin."""
    monkeypatch.setattr(hub, "PAGE", 2)
    rest, thumbprints = Rest(azure), {}
    for name in ("dev1", "dev2", "dev3"):
        made = rest.create(name, certificate())["authentication"]["x509Thumbprint"]
        thumbprints[name] = {one.upper() for one in made.values() if one}
    rest.call("PUT", "/devices/by-ca", {"deviceId": "by-ca", "authentication": {"type": "certificateAuthority"}})
    first, more = iothub.pinned(None)
    assert more is not None
    rest_of_them, end = iothub.pinned(more)
    assert end is None
    assert {one.device_id: {*one.thumbprints} for one in first + rest_of_them} == thumbprints


def test_what_the_hub_accepts_from_some_devices_is_listed_page_by_page(
    azure: StandIn, iothub: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs, "Get twins by querying": deviceId, status and x509Thumbprint are members of a twin."""
    monkeypatch.setattr(hub, "PAGE", 2)
    rest, first, second = Rest(azure), certificate(), certificate()
    rest.create("both", first, second)
    rest.create("it's", first, status="disabled")
    rest.create("not-asked-for", first)
    rest.call("PUT", "/devices/keys", {"deviceId": "keys", "authentication": {"type": "sas"}})
    pages = list(iothub.accepted(["both", "it's", "keys", "never-was"]))
    assert [len(page) for page in pages] == [2, 1]
    found = {device_id: one for page in pages for device_id, one in page.items()}
    for device_id in ("both", "it's", "keys"):
        shown = iothub.shown(device_id)
        assert shown is not None
        assert found[device_id] == Accepted(device_id, shown.enabled, shown.primary, shown.secondary)


def test_a_row_that_lacks_what_was_asked_for_does_not_tell(iothub: HubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a query shows them is not recorded."""
    nothing = X509Thumbprint()
    rows = [
        Twin(device_id="a", status="enabled"),
        Twin(device_id="b", x509_thumbprint=nothing),
        Twin(device_id="c", status="enabled", x509_thumbprint=nothing),
    ]
    page = QueryResult()
    page.items, page.continuation_token = rows, None
    monkeypatch.setattr(iothub._registry, "query_iot_hub", lambda *_: page)
    assert list(iothub.accepted("abc")) == [{"a": None, "b": None, "c": Accepted("c", True, None, None)}]


def test_identities_that_any_certificate_of_a_ca_opens_are_found(azure: StandIn, iothub: HubClient) -> None:
    """docs, "Get twins by querying": authenticationType is a member of a twin."""
    rest = Rest(azure)
    rest.create("pinned", certificate())
    for name in ("by-ca-1", "by-ca-2"):
        body = {"deviceId": name, "authentication": {"type": "certificateAuthority"}}
        assert rest.call("PUT", f"/devices/{name}", body).status_code == 200
    assert iothub.by_authority() == ["by-ca-1", "by-ca-2"]
