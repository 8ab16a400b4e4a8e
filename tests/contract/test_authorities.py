"""The product's client of Resource Manager against the stand-in: CA certificates of the DPS, and the hub's size."""

from dataclasses import replace
from datetime import timedelta

import pytest
from azure.identity import ManagedIdentityCredential

from shared.authority import DpsCertificate
from shared.certificate import parse_certificate
from shared.clients import resource_manager
from shared.clients.authorities import AuthoritiesClient, NoAuthorities
from shared.clients.resource_manager import HubResource, parts_of
from shared.errors import BadInput, Conflict, NotAllowed, NotFound, ServiceRefused, ServiceUnavailable
from shared.settings import Settings
from tests.contract.dps_kit import self_signed, service, x509_group
from tests.contract.reasons import CLIENTS
from tests.fakes import some_settings
from tests.standin import StandIn

pytestmark = CLIENTS

ROOT, OTHER = self_signed("Fleet Root", ca=True), self_signed("Other Root", ca=True)
CERTIFICATE, ANOTHER = parse_certificate(ROOT.der), parse_certificate(OTHER.der)


def settings_of(azure: StandIn) -> Settings:
    return replace(
        some_settings(),
        arm_endpoint=azure.endpoints["arm"]["url"],
        dps_resource_id=azure.endpoints["dps"]["resource_id"],
        hub_resource_id=azure.endpoints["iothub"]["resource_id"],
    )


@pytest.fixture
def there(azure: StandIn) -> AuthoritiesClient:
    settings = settings_of(azure)
    return AuthoritiesClient(settings, str(settings.dps_resource_id), ManagedIdentityCredential())


def get(there: AuthoritiesClient, name: str = "ca-2024") -> DpsCertificate:
    found = there.get(name)
    assert found is not None
    return found


@pytest.mark.parametrize("shown", [False, True])
def test_a_certificate_is_told_by_its_thumbprint_whether_or_not_it_is_given_back(
    azure: StandIn, there: AuthoritiesClient, shown: bool
) -> None:
    """Knob arm_shows_certificate: recorded not to be given back, shown in the specification's examples."""
    azure.control.patch("/knobs", {"arm_shows_certificate": shown})
    there.put("ca-2024", CERTIFICATE, verified=False, read=None)
    [listed] = there.all()
    assert listed == get(there)
    assert (listed.name, listed.verified, listed.common_name) == ("ca-2024", False, "Fleet Root")
    assert listed.certificate == (CERTIFICATE if shown else None)
    assert listed.is_(CERTIFICATE)
    assert not listed.is_(ANOTHER)


def test_what_is_not_there_is_none(there: AuthoritiesClient) -> None:
    assert (there.get("ca-2024"), there.all()) == (None, [])


def test_an_upload_never_takes_the_place_of_what_was_not_read(there: AuthoritiesClient) -> None:
    there.put("ca-2024", CERTIFICATE, verified=True, read=None)
    read = get(there)
    with pytest.raises(Conflict):
        there.put("ca-2024", ANOTHER, verified=True, read=None)
    there.put("ca-2024", ANOTHER, verified=True, read=read)
    with pytest.raises(Conflict):
        there.put("ca-2024", CERTIFICATE, verified=True, read=read)
    assert get(there).is_(ANOTHER)


def test_possession_is_proved_under_the_etag_that_came_with_the_code(there: AuthoritiesClient) -> None:
    there.put("ca-2024", CERTIFICATE, verified=False, read=None)
    code, coded = there.verification_code(get(there))
    assert coded.etag == get(there).etag
    there.verify(coded, ROOT.issue(code).pem)
    assert get(there).verified
    with pytest.raises(Conflict):
        there.verify(coded, ROOT.issue(code).pem)


def test_a_proof_that_is_none_is_a_refusal_in_the_services_words(there: AuthoritiesClient) -> None:
    there.put("ca-2024", CERTIFICATE, verified=False, read=None)
    code, coded = there.verification_code(get(there))
    with pytest.raises(ServiceRefused, match="Proof-Of-Possession failed"):
        there.verify(coded, OTHER.issue(code).pem)


def test_what_was_changed_since_is_not_deleted(azure: StandIn, there: AuthoritiesClient) -> None:
    there.put("ca-2024", CERTIFICATE, verified=False, read=None)
    read = get(there)
    _, coded = there.verification_code(read)
    with pytest.raises(Conflict):
        there.delete(read)
    azure.control.patch("/knobs", {"ca_delete_while_referenced": "conflict"})
    service(azure).enrollment_group.create_or_update("g1", x509_group("g1", "ca-2024"))
    with pytest.raises(Conflict, match="referenced"):
        there.delete(coded)
    service(azure).enrollment_group.delete("g1")
    there.delete(coded)
    assert there.all() == []
    there.delete(coded)


def test_what_is_gone_is_not_found(there: AuthoritiesClient) -> None:
    there.put("ca-2024", CERTIFICATE, verified=False, read=None)
    read = get(there)
    there.delete(read)
    with pytest.raises(NotFound):
        there.verification_code(read)


@pytest.mark.parametrize(
    ("status", "kind"), [(503, ServiceUnavailable), (429, ServiceUnavailable), (400, ServiceRefused)]
)
def test_a_failure_is_one_of_our_errors(
    azure: StandIn, there: AuthoritiesClient, status: int, kind: type[Exception]
) -> None:
    fault = {"kind": "status", "operation": "ListCaCertificates", "status": status, "times": 9}
    azure.control.post("/faults", {**fault, "retry_after": 7})
    with pytest.raises(kind) as refusal:
        there.all()
    if status == 429:
        assert getattr(refusal.value, "retry_after", None) == timedelta(seconds=7), "waited for in the ledger"


def test_a_missing_role_is_said_with_the_action(azure: StandIn, there: AuthoritiesClient) -> None:
    azure.control.put("/roles/rollover", {"roles": []})
    with pytest.raises(NotAllowed, match="certificates/read"):
        there.all()


def test_without_a_resource_every_call_says_which_setting_is_missing() -> None:
    nobody = NoAuthorities()
    read = DpsCertificate("ca", None, False, "e")
    for call in (
        nobody.all,
        lambda: nobody.get("ca"),
        lambda: nobody.put("ca", CERTIFICATE, verified=False, read=None),
        lambda: nobody.verification_code(read),
        lambda: nobody.verify(read, ""),
        lambda: nobody.delete(read),
    ):
        with pytest.raises(ServiceRefused, match="DPS_RESOURCE_ID is missing"):
            call()


def test_the_hub_says_its_size_and_is_not_asked_all_the_time(azure: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    azure.control.patch("/throttles", {"hub_tier": "S1", "hub_units": 10})
    hub = HubResource(settings_of(azure), ManagedIdentityCredential())
    assert hub.sku() == ("S1", 10)
    azure.control.patch("/throttles", {"hub_tier": "S3", "hub_units": 2})
    assert hub.sku() == ("S1", 10)
    monkeypatch.setattr(resource_manager, "KEPT_S", -1)
    assert hub.sku() == ("S3", 2), "more units, bought in an incident, count soon"


@pytest.mark.parametrize("missing", ["the setting", "the role", "the service"])
def test_where_the_hub_does_not_say_its_size_the_settings_do(azure: StandIn, missing: str) -> None:
    settings = replace(settings_of(azure), hub_sku=("S2", 3))
    if missing == "the setting":
        settings = replace(settings, hub_resource_id=None)
    elif missing == "the role":
        azure.control.put("/roles/rollover", {"roles": []})
    else:
        azure.control.post("/faults", {"kind": "status", "operation": "GetHub", "status": 500, "times": 9})
    assert HubResource(settings, ManagedIdentityCredential()).sku() == ("S2", 3)


def test_a_resource_id_is_read_in_any_case() -> None:
    found = parts_of("/SUBSCRIPTIONS/s/resourcegroups/g/PROVIDERS/microsoft.devices/IotHubs/h")
    assert found == ("s", "g", "h")
    with pytest.raises(BadInput):
        parts_of("/subscriptions/s")
