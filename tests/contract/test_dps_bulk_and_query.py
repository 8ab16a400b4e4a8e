"""Many entries at once: bulk writes with outcomes of their own, and queries page by page."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.dps_kit import call, self_signed, service, x509_enrollment, x509_group
from tests.contract.reasons import ALONE, KNOBS, MANY
from tests.contract.target import Target
from tests.standin import StandIn


def enrollments(count: int) -> list[dict[str, Any]]:
    return named([f"dev{number}" for number in range(count)])


def named(names: list[str]) -> list[dict[str, Any]]:
    return [x509_enrollment(name, self_signed(name)) for name in names]


def test_one_bad_item_of_a_bulk_does_not_undo_the_others(target: Target, dev0: str, dev1: str, dev2: str) -> None:
    """REST: BulkEnrollmentOperationResult; 200 although an item failed, so `isSuccessful` must be read."""
    client = service(target)
    good, bad, other = named([dev0, dev1, dev2])
    bad["attestation"]["x509"]["clientCertificates"]["primary"] = {"certificate": "garbage"}
    result = client.enrollment.run_bulk_operation({"mode": "create", "enrollments": [good, bad, other]})
    assert result["isSuccessful"] is False
    assert [(one["registrationId"], one["errorCode"]) for one in result["errors"]] == [(dev1, 400004)]
    assert client.enrollment.get(dev2)["registrationId"] == dev2


def test_a_bulk_update_compares_the_etag_of_each_item(target: Target, dev0: str, dev1: str) -> None:
    """REST: bulk mode updateIfMatchETag; there is no header, so the item's own etag must be meant."""
    client = service(target)
    bodies = named([dev0, dev1])
    client.enrollment.run_bulk_operation({"mode": "create", "enrollments": bodies})
    bodies[0]["etag"], bodies[1]["etag"] = client.enrollment.get(dev0)["etag"], "IjAwIg=="
    result = client.enrollment.run_bulk_operation({"mode": "updateIfMatchETag", "enrollments": bodies})
    assert [(one["registrationId"], one["errorCode"] // 1000) for one in result["errors"]] == [(dev1, 412)]


def test_a_bulk_delete_names_what_was_not_there(target: Target, dev0: str, dev1: str) -> None:
    """Recorded in 2023: a delete needs no etag."""
    client = service(target)
    bodies = named([dev0, dev1])
    client.enrollment.create_or_update(dev0, bodies[0])
    result = client.enrollment.run_bulk_operation({"mode": "delete", "enrollments": bodies})
    assert [(one["registrationId"], one["errorCode"]) for one in result["errors"]] == [(dev1, 404201)]
    with pytest.raises(ResourceNotFoundError):
        client.enrollment.get(dev0)


@pytest.fixture
def dev0(target: Target) -> str:
    """A registration ID of this test."""
    return target.registration_id("dev0")


@MANY
def test_a_bulk_takes_ten_at_most(azure: StandIn) -> None:
    """azure-docs about-iot-dps."""
    bodies = enrollments(11)
    with pytest.raises(HttpResponseError) as refused:
        service(azure).enrollment.run_bulk_operation({"mode": "create", "enrollments": bodies})
    assert refused.value.status_code == 400
    assert service(azure).enrollment.run_bulk_operation({"mode": "create", "enrollments": bodies[:10]})["isSuccessful"]


@MANY
@pytest.mark.parametrize(
    "body",
    [
        {"mode": "upsert", "enrollments": enrollments(1)},
        {"mode": "create"},
        {"mode": "create", "enrollments": []},
    ],
)
def test_a_body_that_is_no_bulk_is_refused(azure: StandIn, body: dict[str, Any]) -> None:
    """REST: BulkEnrollmentOperation."""
    assert call(azure, "POST", "/enrollments", body).status_code == 400


def test_groups_have_the_same_bulk(target: Target) -> None:
    """REST: Enrollment Group - Run Bulk Operation; the Node client sends a slash at the end."""
    group = target.group_id()
    body = {"mode": "create", "enrollmentGroups": [x509_group(group, self_signed("Root", ca=True))]}
    assert call(target, "POST", "/enrollmentGroups/", body).json()["isSuccessful"] is True
    again = call(target, "POST", "/enrollmentGroups/", body).json()
    assert [one["enrollmentGroupId"] for one in again["errors"]] == [group]


@KNOBS
@pytest.mark.parametrize(("each", "left"), [(True, 0), (False, 9)])
def test_a_bulk_of_ten_costs_ten_operations_or_one(azure: StandIn, each: bool, left: int) -> None:
    """azure-docs about-iot-dps gives 1,000 operations a minute and does not say what a bulk counts. A knob."""
    azure.control.patch("/knobs", {"bulk_costs_each": each})
    azure.control.patch("/throttles", {"limits": {"dps/service": {"amount": 10, "per_s": 1000}}})
    assert call(azure, "POST", "/enrollments", {"mode": "create", "enrollments": enrollments(10)}).ok
    assert sum(call(azure, "GET", "/enrollments/dev0").ok for _ in range(10)) == left


@ALONE
def test_a_query_goes_page_by_page(azure: StandIn) -> None:
    """REST: Individual Enrollment - Query; the real client repeats the body with the continuation header."""
    client = service(azure)
    client.enrollment.run_bulk_operation({"mode": "create", "enrollments": enrollments(7)})
    pages = [list(page) for page in client.enrollment.query({"query": "SELECT *"}, top=3).by_page()]
    assert [len(page) for page in pages] == [3, 3, 1]
    found = [one["registrationId"] for page in pages for one in page]
    assert sorted(found) == [f"dev{number}" for number in range(7)]
    assert found != sorted(found), "recorded, 2023: the order is that of the store's partitions"
    assert all("registrationState" not in one for page in pages for one in page)


@ALONE
def test_a_page_after_a_deletion_skips_nothing(azure: StandIn) -> None:
    """A continuation names a place, not a number."""
    client = service(azure)
    client.enrollment.run_bulk_operation({"mode": "create", "enrollments": enrollments(6)})
    pages = client.enrollment.query({"query": "SELECT *"}, top=3).by_page()
    first = [one["registrationId"] for one in next(pages)]
    client.enrollment.delete(first[0])
    rest = [one["registrationId"] for page in pages for one in page]
    assert len(rest) == 3
    assert not set(rest) & set(first)


@ALONE
@pytest.mark.parametrize("query", ["SELECT *", "select * from enrollments", "SELECT * FROM Enrollments;"])
def test_a_query_may_name_its_source(azure: StandIn, query: str) -> None:
    """azure-iot-cli-extension leaves FROM out, the tests of the C# SDK put it in."""
    assert call(azure, "POST", "/enrollments/query", {"query": query}).json() == []


@pytest.mark.parametrize("query", [None, "", "SELECT registrationId", "SELECT * FROM devices", "SELECT * WHERE 1=1"])
def test_another_query_is_refused(target: Target, query: Any) -> None:
    """The published grammar has nothing else."""
    assert call(target, "POST", "/enrollments/query", {"query": query}).status_code == 400


@pytest.mark.parametrize(
    "headers", [{"x-ms-max-item-count": "0"}, {"x-ms-max-item-count": "many"}, {"x-ms-continuation": "?"}]
)
def test_paging_headers_that_mean_nothing_are_refused(target: Target, headers: dict[str, str]) -> None:
    """A guess; never a 500."""
    assert call(target, "POST", "/enrollments/query", {"query": "SELECT *"}, headers=headers).status_code == 400
