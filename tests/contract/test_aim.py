"""Aiming at real services: what must be named and acknowledged, and that nothing is left behind.

The "real services" of these tests are a stand-in that is met only through the variables, by another process.
"""

import dataclasses
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.keyvault.certificates import CertificatePolicy, KeyType

from tests.contract.aim import BadAim, read_aim
from tests.contract.cleaning import Kind, remove, sweep
from tests.contract.cleaning import main as clean
from tests.contract.dps_kit import Device, call, self_signed, service, x509_enrollment, x509_group
from tests.contract.iothub_parts import Rest, certificate
from tests.contract.meter import CONNECTS, QUERIES, REGISTRY, Meter, kind_of
from tests.contract.reasons import OURS
from tests.contract.target import RUN, STANDIN_PACE, Target, at, real
from tests.standin import StandIn

pytestmark = OURS

NAMED = {
    "ROLLOVER_LIVE_DPS_HOST": "d.azure-devices-provisioning.net",
    "ROLLOVER_LIVE_ID_SCOPE": "0ne1",
    "ROLLOVER_LIVE_HUB_HOST": "h.azure-devices.net",
    "ROLLOVER_LIVE_VAULT_URL": "https://v.vault.azure.net/",
    "ROLLOVER_LIVE_ACKNOWLEDGE": "d.azure-devices-provisioning.net, H.azure-devices.net,v.vault.azure.net",
}
KEY = "SharedAccessKeyName=owner;SharedAccessKey=c2VjcmV0"
ROOT = Path(__file__).parents[2]


def test_an_environment_that_names_nothing_aims_at_the_stand_in() -> None:
    assert read_aim({"HOME": "/", "ROLLOVER_LIVE_DPS_HOST": " "}) is None


def test_real_services_are_named_and_acknowledged() -> None:
    aim = read_aim(NAMED)
    assert aim is not None
    assert aim.resources == ["d.azure-devices-provisioning.net", "h.azure-devices.net", "v.vault.azure.net"]
    assert aim.device_host == "global.azure-devices-provisioning.net"


@pytest.mark.parametrize("acknowledged", ["", "yes", "h.azure-devices.net", "another.azure-devices.net"])
def test_nothing_is_met_that_was_not_acknowledged_by_name(acknowledged: str) -> None:
    with pytest.raises(BadAim, match=r"ROLLOVER_LIVE_ACKNOWLEDGE=d\.azure.*,h\.azure.*,v\.vault"):
        read_aim(NAMED | {"ROLLOVER_LIVE_ACKNOWLEDGE": acknowledged})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ROLLOVER_LIVE_HUB_HOST": ""}, "HUB_HOST or ROLLOVER_LIVE_HUB_CONNECTION is missing"),
        ({"ROLLOVER_LIVE_ID_SCOPE": ""}, "ID_SCOPE is missing"),
        ({"ROLLOVER_LIVE_HUB_HOST": "https://h"}, "without https://"),
        ({"ROLLOVER_LIVE_DPS_CONNECTION": f"HostName=other;{KEY}"}, "name different hosts"),
        ({"ROLLOVER_LIVE_HUB_CONNECTION": "HostName=h;SharedAccessKey=c2VjcmV0"}, "no connection string"),
        ({"ROLLOVER_LIVE_PREFIX": "a"}, "PREFIX must be"),
        ({"ROLLOVER_LIVE_PREFIX": "Production"}, "PREFIX must be"),
        ({"ROLLOVER_LIVE_VAULT_URL": "v.vault.azure.net"}, "must begin with https://"),
        ({"ROLLOVER_LIVE_HUBHOST": "h"}, "HUBHOST is none of our variables"),
    ],
)
def test_what_is_wrong_is_said_without_a_key(changes: dict[str, str], says: str) -> None:
    with pytest.raises(BadAim) as wrong:
        read_aim(NAMED | changes)
    assert says in str(wrong.value)
    assert "c2VjcmV0" not in str(wrong.value)


def test_a_key_is_not_in_the_representation_either() -> None:
    del_host = {name: value for name, value in NAMED.items() if name != "ROLLOVER_LIVE_HUB_HOST"}
    aim = read_aim(del_host | {"ROLLOVER_LIVE_HUB_CONNECTION": f"HostName=h.azure-devices.net;{KEY}"})
    assert aim is not None
    assert aim.hub_connection is not None
    assert "c2VjcmV0" not in repr(aim)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ("PUT https://global/0ne1/registrations/a/register", "DPS registrations"),
        ("GET https://global/0ne1/registrations/a/operations/5.1", "DPS polls of a registration"),
        ("GET https://d/registrations/a", "DPS service API"),
        ("PUT https://h/devices/a", REGISTRY),
        ("POST https://h/devices/query", QUERIES),
        ("GET https://v/certificates/a/pending", "Key Vault"),
        ("GET http://127.0.0.1:8090/knobs", None),
    ],
)
def test_requests_are_told_apart(asked: str, kind: str | None) -> None:
    method, url = asked.split()
    assert kind_of(method, url) == kind


def test_the_meter_waits_before_a_quota_is_spent() -> None:
    meter, slept = Meter({REGISTRY: 2}), [0.0]

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise Enough

    for _ in range(2):
        meter._wait(REGISTRY, sleep)
    with pytest.raises(Enough):
        meter._wait(REGISTRY, sleep)
    meter._wait(CONNECTS, sleep)
    assert 50 < slept[-1] <= 60


def left(azure: StandIn) -> dict[str, int]:
    """How many things there are at the stand-in."""
    return {
        "enrollments": len(call(azure, "POST", "/enrollments/query", {"query": "SELECT *"}).json()),
        "groups": len(call(azure, "POST", "/enrollmentGroups/query", {"query": "SELECT *"}).json()),
        "devices": len(Rest(azure).call("GET", "/devices").json()),
        "certificates": len(list(at(azure).vault().list_properties_of_certificates())),
        "deleted": len(list(at(azure).vault().list_deleted_certificates())),
    }


def variables(azure: StandIn) -> dict[str, str]:
    """What a person would set, were the stand-in a subscription."""
    dps, hub = azure.endpoints["dps"], azure.endpoints["iothub"]
    hosts = [one["service_url"].removeprefix("https://") for one in (dps, hub)]
    vault = azure.endpoints["keyvault"]["url"]
    return {
        "ROLLOVER_LIVE_DPS_CONNECTION": dps["connection_string"],
        "ROLLOVER_LIVE_DPS_DEVICE_HOST": hosts[0],
        "ROLLOVER_LIVE_ID_SCOPE": dps["id_scope"],
        "ROLLOVER_LIVE_HUB_HOST": hosts[1],
        "ROLLOVER_LIVE_VAULT_URL": vault,
        "ROLLOVER_LIVE_ACKNOWLEDGE": ",".join([*hosts, vault.removeprefix("https://")]),
    }


FILE = "tests/contract/test_dps_bulk_and_query.py"
SOME = "test_a_bulk_delete_names or test_groups_have_the_same_bulk"


@pytest.mark.proof
def test_a_run_on_real_services_says_what_it_makes_and_leaves_nothing(azure: StandIn, whole: bool) -> None:
    """All of the real way, in another process: variables, announcement, sweep, tests, cleaning, count."""
    if not whole:
        return  # the sample: the tests below, in this process
    environment = {**os.environ, **variables(azure), "AZURE_CLIENT_ID": "operator"}
    command = [sys.executable, "-m", "pytest", FILE, "--aim", "-k", SOME, "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert re.search(r"Aimed at 127\S+:8443, 127\S+:8443, 127\S+:8443, devices at", done.stdout)
    assert "create, and delete after each test, things named rollover-contract-" in done.stdout
    assert re.search(r"Asked of the services: .*\d+ hub registry", done.stdout)
    assert "SharedAccessKey" not in done.stdout + done.stderr
    assert set(left(azure).values()) == {0}


def test_nothing_is_met_without_the_acknowledgement(
    azure: StandIn, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest ends before it has collected anything; without `--aim` it does not even look."""
    for name, value in (variables(azure) | {"ROLLOVER_LIVE_ACKNOWLEDGE": "yes"}).items():
        monkeypatch.setenv(name, value)
    ours = request.config.pluginmanager.get_plugin(str(ROOT / "tests/contract/conftest.py"))
    aimed = SimpleNamespace(stash=pytest.Stash(), getoption=lambda _name: True)
    with pytest.raises(pytest.UsageError, match="these tests create and delete; if that is what you want there"):
        ours.pytest_configure(aimed)
    at_home = SimpleNamespace(stash=pytest.Stash(), getoption=lambda _name: False)
    ours.pytest_configure(at_home)
    assert at_home.stash[ours.AIM] is None


@pytest.mark.parametrize("refused", [False, True])
def test_a_test_on_real_services_removes_what_it_made_or_fails(
    azure: StandIn, request: pytest.FixtureRequest, refused: bool
) -> None:
    ours = request.config.pluginmanager.get_plugin(str(ROOT / "tests/contract/conftest.py"))
    life = ours.real_target(read_aim(variables(azure)))
    target = next(life)
    name = target.registration_id()
    service(target).enrollment.create_or_update(name, x509_enrollment(name, self_signed(name)))
    if refused:
        azure.control.post("/faults", {"kind": "status", "operation": "DeleteEnrollment", "status": 403, "times": 1})
    with pytest.raises(AssertionError if refused else StopIteration, match=f"{name}: 403" if refused else None):
        next(life)
    assert left(azure)["enrollments"] == refused


def test_a_real_target_works_by_key_or_by_identity_and_removes_all_that_it_names(
    azure: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that registered, with everything that came of it; a certificate."""
    azure.control.patch("/knobs", {"assign_delay_s": 0, "certificate_create_s": 0, "certificate_delete_s": 0})
    monkeypatch.setenv("AZURE_CLIENT_ID", "operator")
    aim = read_aim(variables(azure))
    assert aim is not None
    target = dataclasses.replace(real(aim), pace=STANDIN_PACE)
    name, certificate_name = target.registration_id(), target.certificate_name()
    credential = self_signed(name)
    service(target).enrollment.create_or_update(name, x509_enrollment(name, credential))
    assert Device(target, name, credential, tmp_path).register()["status"] == "assigned"
    assert target.registry().get_device(name).device_id == name
    target.vault().begin_create_certificate(certificate_name, _a_policy()).wait()
    assert left(azure) == {"enrollments": 1, "groups": 0, "devices": 1, "certificates": 1, "deleted": 0}
    assert target.created.remove(target) == []
    assert set(left(azure).values()) == {0}
    assert call(azure, "GET", f"/registrations/{name}").status_code == 404


def some_things(azure: StandIn, names: list[str]) -> None:
    """An enrollment, a group, a device and a certificate of each name."""
    azure.control.patch("/knobs", {"certificate_create_s": 0, "certificate_delete_s": 0})
    for name in names:
        service(azure).enrollment.create_or_update(name, x509_enrollment(name, self_signed(name)))
        service(azure).enrollment_group.create_or_update(name, x509_group(name, self_signed(name, ca=True)))
        Rest(azure).create(name, certificate())
        at(azure).vault().begin_create_certificate(name, _a_policy()).wait()


def _a_policy() -> Any:
    return CertificatePolicy("Self", subject="CN=left", key_type=KeyType.ec)


OLD, FRESH, FOREIGN = "rollover-contract-2001020304-abcd-1-dev1", f"rollover-contract-{RUN}-1-x", "pump-1"


@pytest.mark.parametrize(("older_than", "gone"), [(timedelta(days=1), {OLD}), (timedelta(days=-1), {OLD, FRESH})])
def test_a_sweep_removes_what_runs_of_that_age_left_and_nothing_else(
    azure: StandIn, older_than: timedelta, gone: set[str]
) -> None:
    some_things(azure, [OLD, FRESH, FOREIGN])
    said: list[str] = []
    assert sweep(at(azure), older_than, said.append) == []
    there = {OLD, FRESH, FOREIGN} - gone
    assert {one["registrationId"] for one in _all(azure, "/enrollments")} == there
    assert {one["enrollmentGroupId"] for one in _all(azure, "/enrollmentGroups")} == there
    assert {one["deviceId"] for one in Rest(azure).call("GET", "/devices").json()} == there
    assert {one.name for one in at(azure).vault().list_properties_of_certificates()} == there
    assert len(said) == 4 * len(gone)


def _all(azure: StandIn, path: str) -> Any:
    return call(azure, "POST", f"{path}/query", {"query": "SELECT *"}).json()


def test_the_clean_verb_does_the_same_for_every_age(
    azure: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clean() == 0
    assert capsys.readouterr().out.startswith("Nothing to clean: no real service is named.")
    for name, value in (variables(azure) | {"AZURE_CLIENT_ID": "operator"}).items():
        monkeypatch.setenv(name, value)
    call(azure, "PUT", f"/enrollments/{FRESH}", x509_enrollment(FRESH, self_signed(FRESH)))
    assert clean() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing is left under rollover-contract-."
    assert set(left(azure).values()) == {0}
    monkeypatch.setenv("ROLLOVER_LIVE_ACKNOWLEDGE", "")
    assert clean() == 2


def test_what_will_not_go_is_named(azure: StandIn, target: Target) -> None:
    name = target.registration_id()
    service(azure).enrollment.create_or_update(name, x509_enrollment(name, self_signed(name)))
    azure.control.post("/faults", {"kind": "status", "operation": "DeleteEnrollment", "status": 403, "times": 1})
    assert target.created.remove(target) == [f"enrollment {name}: 403"]
    assert remove(target, Kind.ENROLLMENT, name) is None
