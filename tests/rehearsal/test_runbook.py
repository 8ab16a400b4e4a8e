"""Every procedure of the runbook, carried out as it stands: its commands in a shell, against the app on real parts.

What goes wrong is made to go wrong at the stand-in; what the page has done by `az`, by other people or by the device,
the test does in their place.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.rehearsal.breaches import hub
from tests.rehearsal.plant import Host, Plant, PocketDevice, until
from tests.rehearsal.runbook import Procedure, Terminal, sections
from tests.rehearsal.test_who_may import token
from tests.rehearsal.vault_group import GroupOfTheVault

# Everything is always due, so that a sweep or an event begins a rollover at once.
SETTINGS = {
    "ROLL_DAYS_BEFORE_EXPIRY": "4000",
    "ROLL_LIFETIME_SHARE": "0.999999",
    "CONTAINMENT_SETTLE_SECONDS": "1",
}
pytestmark = pytest.mark.proof
SAMPLE = (
    "test_a_key_is_stolen",
    "test_a_rollover_is_stuck",
    "test_one_device_is_kept_out_and_let_back",
    "test_the_ledger_answers",
    "test_the_sweep_does_not_run",
)
"""What runs without ``--proof``; a host that polls all queues in fractions of a second costs time while it waits."""
numbers = count(1)


@pytest.fixture(scope="module")
def host(plant: Plant) -> Iterator[Host]:
    """A host for this file; twenty past, so that no sweep comes by itself."""
    control = plant.standin.control
    control.put("/clock", {"set": control.get("/clock")["now"][:14] + "20:00Z"})
    running = plant.host(**SETTINGS)
    running.deliver(plant.event("unknown"))  # the vault has asked for its token: what is counted from now on is answers
    yield running
    running.stop()


class Night:
    """One night on call: what is broken, whose shells are open, which devices live."""

    def __init__(self, plant: Plant, host: Host, folder: Path, stack: ExitStack) -> None:
        self.plant = plant
        self.host = host
        self._folder = folder
        self._stack = stack
        self._token = token(plant, "auditor")
        stack.callback(self.mend)

    def device(self, kind: str) -> PocketDevice:
        """A device that is installed, and does nothing by itself; its name begins so."""
        device = self.plant.install(f"{kind}-{next(numbers)}", self._folder)
        self._stack.callback(device.stop)
        self.passes(seconds=2)  # a version that is made now ends later
        return device

    def breaks(self, service: str, operation: str = "*", status: int = 503, **fault: Any) -> None:
        """From now on a service answers so."""
        rule = {"kind": "status", "service": service, "operation": operation, "status": status, "times": -1, **fault}
        self.plant.standin.control.post("/faults", rule)

    def mend(self) -> None:
        """All is well again."""
        self.plant.standin.control.delete("/faults")

    def rolls(self, name: str) -> str:
        """An event begins the rollover of a device; its ID."""
        assert self.host.deliver(self.plant.event(name))
        return str(self.stands(name)["id"])

    def stands(self, name: str, **wanted: Any) -> dict[str, Any]:
        """Wait until the latest rollover of a device stands so."""

        def found() -> dict[str, Any] | None:
            latest = self.rollovers(name)[:1]
            return latest[0] if latest and wanted.items() <= latest[0].items() else None

        return until(found, f"{name}: {wanted}", lambda: f"{self.rollovers(name)}\n{self.host.tail()}", every_s=0.3)

    def rollovers(self, name: str) -> list[dict[str, Any]]:
        """The rollovers of a device, latest first."""
        query, headers = {"registration_id": name}, {"Authorization": f"Bearer {self._token}"}
        answer = requests.get(f"{self.host.url}/api/rollovers", params=query, headers=headers, timeout=30)
        return list(answer.json()["rollovers"])

    def passes(self, **time: float) -> None:
        """Let time pass, for what waits."""
        self.plant.move_clock(**time)

    def comes_back(self, device: PocketDevice) -> None:
        """The device fetches what a breach has enrolled for it, and registers."""
        self.stands(device.name, next_step="restore_twin")
        device.take_latest()
        assert device.register()
        self.passes(minutes=1)

    def pins(self, name: str, other: str) -> str:
        """Have the hub accept the certificate of a device for another identity too."""
        shown = hub(self.plant).get_device(name).authentication.x509_thumbprint
        pinned = (shown.primary_thumbprint, shown.secondary_thumbprint)
        hub(self.plant).create_device_with_x509(other, *pinned, status="enabled")
        return other

    def unpins(self, other: str) -> None:
        """Delete such an identity."""
        hub(self.plant).delete_device(other)

    def set_status(self, name: str, status: str) -> None:
        """Enable or disable an enrollment."""
        body = self.plant.dps.enrollment.get(name)
        self._write(name, {**body, "provisioningStatus": status})

    def _write(self, name: str, body: dict[str, Any]) -> None:
        self.plant.dps.enrollment.create_or_update(name, body, if_match=body["etag"])

    def tag(self, name: str, registration_id: str) -> None:
        """Say in the vault whose certificate it is."""
        self.plant.vault.update_certificate_properties(name, tags={"rollover-enrollment": registration_id})

    def new_version(self, name: str) -> None:
        """Issue another one in the vault."""
        policy, tags = self.plant.vault.get_certificate_policy(name), {"rollover-enrollment": name}
        self.plant.vault.begin_create_certificate(name, policy, tags=tags, _polling_interval=0.1).result()

    def shell(self, who: str = "oncall", **variables: str) -> Terminal:
        """A shell of somebody who has set it up."""
        terminal = Terminal({"ROLLOVER_URL": self.host.url, "TOKEN": token(self.plant, who), **variables})
        self._stack.callback(terminal.close)
        return terminal


@pytest.fixture
def chosen(request: pytest.FixtureRequest, whole: bool) -> None:
    """Leaves out what is not in the sample."""
    if not whole and request.node.name not in SAMPLE:
        pytest.skip("a long proof")


@pytest.fixture
def night(plant: Plant, host: Host, tmp_path: Path, chosen: None) -> Iterator[Night]:
    """The plant, with whatever is broken mended at the end."""
    with ExitStack() as stack:
        yield Night(plant, host, tmp_path, stack)


@pytest.fixture
def cautious(chosen: None, plant: Plant, tmp_path: Path) -> Iterator[Night]:
    """A night on which every breach call needs a second person. Its host is gone before that of the others comes."""
    with ExitStack() as stack:
        running = plant.host(**{**SETTINGS, "BREACH_FUSE": "0"})
        stack.callback(running.stop)
        yield Night(plant, running, tmp_path, stack)


@pytest.fixture
def follow() -> Iterator[Callable[[Terminal, str], Procedure]]:
    """Opens a section; at the end each one that was opened must have been carried out to its last block."""
    opened: list[Procedure] = []

    def open_section(terminal: Terminal, anchor: str) -> Procedure:
        opened.append(Procedure(terminal, anchor))
        return opened[-1]

    yield open_section
    for procedure in opened:
        assert not procedure.left, f"{procedure.anchor}: {procedure.left} blocks were not run"


Follow = Callable[[Terminal, str], Procedure]


BREACH = "a-key-is-stolen"


def test_a_breach_waits_for_a_second_person(cautious: Night, follow: Follow) -> None:
    """The first is approved; for the second one nobody is there."""
    approved, alone = cautious.device("two"), cautious.device("alone")
    preview, confirm = sections()[BREACH].commands[1:3]
    first = cautious.shell(WHAT=f'"registration_id": "{approved.name}"')
    first.run(preview)
    assert '"awaiting_approval"' in first.run(confirm)
    page = follow(cautious.shell("oncall-2", ID=f"individual.{approved.name}.1"), "a-breach-waits-for-a-second-person")
    assert '"reason": "laptop with its key stolen"' in page.next()
    assert '"status": "running"' in page.next()
    first.set(WHAT=f'"registration_id": "{alone.name}"')
    first.run(preview)
    assert '"status": "running"' in page.next(first)
    assert not approved.register()
    assert not alone.register()


def test_a_key_is_stolen(night: Night, follow: Follow) -> None:
    device = night.device("stolen")
    page = follow(night.shell(DEVICE=device.name), BREACH)
    page.next()
    preview = page.next()
    assert '"devices": 1,' in preview
    assert f'"registration_id": "{device.name}"' in preview
    assert f'"id": "individual.{device.name}.1"' in page.next()
    page.until('"contained": true', '"still_exposed": [],')
    night.comes_back(device)
    night.stands(device.name, status="done")
    assert '"status": "done"' in page.again()


def test_the_ca_of_a_group_is_stolen(night: Night, follow: Follow, tmp_path: Path) -> None:
    """One device registered before the theft and stays at the hub; one since, and is evicted. Both get new leaves."""
    group = GroupOfTheVault(night.plant, tmp_path, f"line-{next(numbers)}")
    spared = group.device("kept")
    night.passes(minutes=6)
    since = group.now().isoformat()
    night.passes(minutes=6)
    suspect = group.device("since")
    page = follow(night.shell(GROUP=group.name, SINCE=since), "the-ca-of-a-group-is-stolen")
    page.next()
    page.next()
    assert '"devices": 1,' in page.next()
    assert f'"id": "group.{group.name}.1"' in page.next()
    group.offers_new_ca()
    assert not suspect.register()
    page.until('"contained": true', '"still_exposed": [],', '"next_step": "restore_twin"')
    page.until('"work": "leaves",\n            "listed": true,\n            "devices": 2,\n            "done": 2,')
    assert f'"device_id": "{suspect.name}"' in page.next()
    for device in (suspect, spared):
        assert not device.register(), "its old certificate is of the stolen CA"
        device.take_latest()
        assert device.register()
    night.passes(minutes=1)
    until(lambda: '"status": "done"' in page.shell.run('stands "$ID"'), "the group's breach is done", night.host.tail)
    group.retires()


def test_a_breach_is_not_contained(night: Night, follow: Follow) -> None:
    """Two other hub identities accept the certificate: one is disabled by hand, the other accepted."""
    device = night.device("route")
    closed, accepted = (night.pins(device.name, f"{device.name}-{n}") for n in (1, 2))
    oncall = night.shell(DEVICE=device.name, ROUTE=f"hub identity {accepted}")
    for commands in sections()[BREACH].commands[:3]:
        oncall.run(commands)
    night.stands(device.name, status="needs_person")
    page = follow(oncall, "a-breach-is-not-contained")
    shown = page.next()
    assert f"hub identity {closed}: " in shown
    assert f"hub identity {accepted}: " in shown
    night.unpins(closed)
    assert '"status": "running"' in page.next()
    assert closed not in night.stands(device.name, status="needs_person")["reason"]
    page.next()
    night.stands(device.name, contained=True)


def test_a_contained_certificate_is_tried_again(night: Night, follow: Follow) -> None:
    device = night.device("tried")
    oncall = night.shell(DEVICE=device.name)
    for commands in sections()[BREACH].commands[:3]:
        oncall.run(commands)
    night.stands(device.name, contained=True)
    assert not device.register()
    shown = follow(oncall, "a-contained-certificate-is-tried-again").next()
    assert '"contained": true' in shown
    assert '"still_exposed": []' in shown


def test_one_device_is_kept_out_and_let_back(night: Night, follow: Follow) -> None:
    device = night.device("odd")
    page = follow(night.shell(DEVICE=device.name), "keep-one-device-out-and-let-it-back")
    assert f'"id": "individual.{device.name}.1"' in page.next()
    assert not device.register()
    night.stands(device.name, status="done", plan="disallow", contained=True)
    assert f"individual.{device.name}.1" in page.next()
    assert f'"id": "individual.{device.name}.2"' in page.next()
    night.stands(device.name, status="done", plan="allow")
    assert device.register()


def test_a_rollover_is_stuck(night: Night, follow: Follow) -> None:
    device = night.device("stuck")
    rollover_id = night.rolls(device.name)
    night.stands(device.name, next_step="invoke_reprovision_job", status="waiting")
    night.set_status(device.name, "disabled")
    night.passes(minutes=6)
    disabled = "the enrollment is disabled; nothing is rolled until it is enabled"
    night.stands(device.name, waiting_for=disabled)
    page = follow(night.shell(ID=rollover_id), "a-rollover-is-stuck")
    page.next()
    assert disabled in page.next()
    night.set_status(device.name, "enabled")
    page.next()
    device.take_latest()
    assert device.register()
    night.stands(device.name, next_step="delete_primary")


def test_a_device_does_not_move(night: Night, follow: Follow) -> None:
    device = night.device("silent")
    rollover_id = night.rolls(device.name)
    night.stands(device.name, next_step="invoke_reprovision_job", status="waiting")
    page = follow(night.shell(ID=rollover_id), "a-device-does-not-move")
    shown = page.next()
    assert '"not_after"' in shown
    assert '"waiting_for": "' in shown
    device.take_latest()
    assert device.register()
    night.passes(minutes=6)  # by then it looks again
    page.until('"next_step": "delete_primary"')


def test_a_message_was_poisoned(night: Night, follow: Follow) -> None:
    device = night.device("poisoned")
    night.breaks("keyvault", "GetCertificate", 200, skip=1)  # an answer that the SDK cannot read
    rollover_id = night.rolls(device.name)
    night.stands(device.name, status="needs_person")
    page = follow(night.shell(ID=rollover_id), "a-message-was-poisoned")
    shown = page.next()
    assert rollover_id in shown
    assert "failed again and again without a verdict" in shown
    assert '"refused_inputs"' in page.next()
    night.mend()
    page.next()
    night.stands(device.name, next_step="invoke_reprovision_job")


def test_the_vault_does_not_answer(night: Night, follow: Follow) -> None:
    """An expiry waits; a breach shuts the door and rests; with the vault back both go on."""
    waiting, stolen, other = night.device("vault"), night.device("vault"), night.device("vault")
    night.breaks("keyvault", "CreateCertificate")
    night.rolls(waiting.name)
    night.breaks("keyvault")
    night.stands(waiting.name, status="waiting")
    oncall = night.shell(DEVICE=stolen.name)
    page = follow(oncall, "the-vault-does-not-answer")
    assert f"individual.{waiting.name}.1" in page.next()
    shown = [oncall.run(commands) for commands in sections()[BREACH].commands[:3]]
    assert '"replacement_note": "not known, for the vault cannot be read' in shown[1]
    assert not stolen.register()
    rests = night.stands(stolen.name, contained=True, next_step="issue_certificate")
    assert rests["status"] in ("running", "waiting")
    oncall.set(DEVICE=other.name)
    page.next()
    assert not other.register()
    night.mend()
    night.passes(seconds=10)
    night.host.run_now("sweep_certificates")  # tells again whose certificate the stolen one is
    night.comes_back(stolen)
    night.stands(stolen.name, status="done")
    night.stands(waiting.name, next_step="invoke_reprovision_job")


def test_the_hub_throttles(night: Night, follow: Follow) -> None:
    device = night.device("throttled")
    night.breaks("iothub", "GetDevice", 429, skip=1, retry_after=1)
    rollover_id = night.rolls(device.name)
    night.stands(device.name, status="waiting", next_step="stage_hub_thumbprint")
    page = follow(night.shell(ID=rollover_id), "the-hub-throttles")
    assert rollover_id in page.next()
    night.mend()
    night.passes(seconds=10)
    night.stands(device.name, next_step="invoke_reprovision_job")
    assert rollover_id not in page.again()


def test_the_sweep_does_not_run(night: Night, follow: Follow) -> None:
    """Its list of the vault fails; mended, it is run at once, and finds what it had not."""
    device = night.device("unswept")
    night.breaks("keyvault", "ListCertificates")
    night.host.run_now("sweep_certificates")
    page = follow(night.shell(MASTER_KEY=night.host.keys["master"]), "the-sweep-does-not-run")
    assert '"rollovers": [' in page.next()
    assert not night.rollovers(device.name)
    night.mend()
    assert page.next() == "202"
    until(lambda: night.rollovers(device.name), "the sweep begins it", night.host.tail)
    assert f'"id": "individual.{device.name}.1"' in page.next()


def test_a_certificate_cannot_begin(night: Night, follow: Follow) -> None:
    device = night.device("untagged")
    night.tag(device.name, "nobody-1")
    assert night.host.deliver(night.plant.event(device.name))
    assert not night.rollovers(device.name)
    page = follow(night.shell(DEVICE=device.name), "a-certificate-cannot-begin")
    assert '"refused_inputs"' in page.next()
    night.tag(device.name, device.name)
    run_now = sections()["the-sweep-does-not-run"].commands[1]
    assert night.shell(MASTER_KEY=night.host.keys["master"]).run(run_now) == "202"
    page.until(f'"id": "individual.{device.name}.1"')


def test_the_ledger_answers(night: Night, follow: Follow) -> None:
    page = follow(night.shell(), "the-ledger-or-a-topic-does-not-answer")
    assert page.next() == "200"
    page.next()


def test_a_rollover_is_stopped_and_gone_back_on(night: Night, follow: Follow) -> None:
    """The device has moved, goes back to its old certificate, and takes the next version."""
    device = night.device("back")
    old = device.stolen()
    rollover_id = night.rolls(device.name)
    night.stands(device.name, next_step="invoke_reprovision_job", status="waiting")
    device.take_latest()
    assert device.register()
    page = follow(night.shell(ID=rollover_id, DEVICE=device.name), "stop-a-rollover-and-go-back")
    page.next()
    assert '"status": "cancelled"' in page.next()
    device.hold(old)
    assert device.register(), "DPS admits the old certificate still"
    night.passes(seconds=2)
    night.new_version(device.name)
    assert night.host.deliver(night.plant.event(device.name))
    page.until(f'"id": "individual.{device.name}.2"')


def test_a_release_is_rolled_back(night: Night, follow: Follow) -> None:
    """Rows and messages of the release before are read by tests/unit/test_rows.py; here is how to look."""
    device = night.device("release")
    night.breaks("keyvault", "GetCertificate", 400, skip=1)
    rollover_id = night.rolls(device.name)
    night.stands(device.name, status="needs_person")
    assert rollover_id in follow(night.shell(), "roll-back-a-release").next()
