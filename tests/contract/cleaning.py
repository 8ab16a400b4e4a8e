"""Removing what contract tests made on real services: after each test, and what a broken run left behind.

Names tell everything: prefix, when the run began, which run (`target.RUN`). Nothing else is ever touched.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

if TYPE_CHECKING:
    from tests.contract.target import Target

OLD = timedelta(days=1)
PAGE = 1000
MOST_PAGES = 20
"""Of a DPS with more entries than this a sweep sees only a part, and says so: each page is an operation."""
SOFT_DELETE_S = 60


class Kind(Enum):
    """What can be left behind, in the words of a report."""

    ENROLLMENT = "enrollment"
    GROUP = "enrollment group"
    REGISTRATION = "registration"
    DEVICE = "device identity"
    CERTIFICATE = "certificate"


_PLACES = {
    Kind.ENROLLMENT: ("dps", "/enrollments/{}", "2021-10-01"),
    Kind.GROUP: ("dps", "/enrollmentGroups/{}", "2021-10-01"),
    Kind.REGISTRATION: ("dps", "/registrations/{}", "2021-10-01"),
    Kind.DEVICE: ("iothub", "/devices/{}", "2021-04-12"),
}


@dataclass
class Created:
    """What a test may have made: noted before it is made."""

    noted: dict[tuple[Kind, str], None] = field(default_factory=dict)

    def note(self, kind: Kind, name: str) -> str:
        """Keep in mind; gives the name."""
        self.noted[kind, name] = None
        return name

    def remove(self, target: "Target") -> list[str]:
        """Delete all of it, last noted first; one line for each thing that is still there."""
        left = [line for kind, name in reversed(self.noted) if (line := remove(target, kind, name))]
        self.noted.clear()
        return left


def remove(target: "Target", kind: Kind, name: str) -> str | None:
    """Delete one thing. None when it is gone, or was never there; else why it is not."""
    try:
        if kind is Kind.CERTIFICATE:
            return _remove_certificate(target, name)
        service, path, version = _PLACES[kind]
        answer = _ask(target, service, "DELETE", path.format(quote(name, safe="")), version)
    except (requests.RequestException, HttpResponseError) as error:
        return f"{kind.value} {name}: {type(error).__name__}"
    return None if answer.status_code in (204, 404) else f"{kind.value} {name}: {answer.status_code}"


def _remove_certificate(target: "Target", name: str) -> str | None:
    """Delete and purge. Where purging is not allowed the name stays taken until the vault forgets it."""
    vault = target.vault()
    try:
        vault.begin_delete_certificate(name, _polling_interval=target.pace.poll).wait(SOFT_DELETE_S)
        vault.purge_deleted_certificate(name)
    except ResourceNotFoundError:
        return None
    except HttpResponseError as error:
        if error.status_code != 403:
            raise
    return None


def sweep(target: "Target", older_than: timedelta, say: Callable[[str], None]) -> list[str]:
    """Remove what runs of that age left under the target's prefix. Gives a line for each thing that would not go."""
    left = []
    for kind, name in _leftovers(target, say):
        age = _age(target.prefix, name)
        if age is not None and age >= older_than:
            say(f"left by an earlier run, removed: {kind.value} {name}")
            left += [line] if (line := remove(target, kind, name)) else []
    return left


def _leftovers(target: "Target", say: Callable[[str], None]) -> Iterator[tuple[Kind, str]]:
    ours = f"SELECT deviceId FROM devices WHERE startswith(deviceId, '{target.prefix}-')"  # noqa: S608  not SQL
    for row in _pages(target, "iothub", "/devices/query", "2021-04-12", ours, say):
        yield Kind.DEVICE, row["deviceId"]
    for row in _pages(target, "dps", "/enrollments/query", "2021-10-01", "SELECT *", say):
        yield Kind.ENROLLMENT, row["registrationId"]
    for row in _pages(target, "dps", "/enrollmentGroups/query", "2021-10-01", "SELECT *", say):
        yield Kind.GROUP, row["enrollmentGroupId"]
    if target.endpoints["keyvault"]["url"]:
        for certificate in target.vault().list_properties_of_certificates():
            yield Kind.CERTIFICATE, certificate.name


def _pages(
    target: "Target", service: str, path: str, version: str, query: str, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    headers = {"x-ms-max-item-count": str(PAGE)}
    for _ in range(MOST_PAGES):
        answer = _ask(target, service, "POST", path, version, {"query": query}, headers)
        answer.raise_for_status()
        rows += answer.json()
        if not (more := answer.headers.get("x-ms-continuation")):
            return rows
        headers["x-ms-continuation"] = more
    say(f"{path} has more than {MOST_PAGES} pages: leftovers beyond them were not looked for")
    return rows


def _age(prefix: str, name: str) -> timedelta | None:
    """How long ago the run began that made this name; None for a name that is not ours."""
    found = re.match(rf"{re.escape(prefix)}-(\d{{10}})-[0-9a-f]{{4}}-\d+-", name, re.IGNORECASE)
    if found is None:
        return None
    try:
        began = datetime.strptime(found[1], "%y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return datetime.now(UTC) - began


def _ask(
    target: "Target",
    service: str,
    method: str,
    path: str,
    version: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    authorization = target.dps_authorization() if service == "dps" else target.hub_authorization()
    url = f"{target.endpoints[service]['service_url']}{path}?api-version={version}"
    sent = {"Authorization": authorization, "If-Match": "*", **(headers or {})}
    if method == "POST":
        del sent["If-Match"]
    for _ in range(5):
        answer = requests.request(method, url, json=body, headers=sent, timeout=30)
        if answer.status_code != 429:
            break
        time.sleep(target.pace.poll * 4)
    return answer


def main() -> int:
    """`make contract-clean`: everything under the prefix, whatever its age."""
    from tests.contract.aim import WHAT_TO_SET, BadAim, read_aim
    from tests.contract.target import real

    try:
        aim = read_aim(os.environ)
    except BadAim as error:
        print(f"Not cleaned: {error}")
        return 2
    if aim is None:
        print(f"Nothing to clean: no real service is named. {WHAT_TO_SET}")
        return 0
    left = sweep(real(aim), -OLD, print)
    print("\n".join(f"still there: {one}" for one in left) or f"Nothing is left under {aim.prefix}-.")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
