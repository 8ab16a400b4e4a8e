"""The agent's own thread, with DPS, hub and source in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from device.agent import DeviceAgent
from device.backoff import Backoff
from device.config import Config
from device.credential import Credential
from device.store import CertificateStore
from tests.device.device_certificates import issue
from tests.device.device_fakes import HERE, Cloud, FakeSource, Timeline, eventually

OLD, NEW, NEXT = (issue(age=timedelta(hours=h)).credential for h in (3, 2, 1))

type Start = Callable[..., tuple[DeviceAgent, Timeline]]


@pytest.fixture
def cloud() -> Cloud:
    cloud = Cloud(OLD.sha256, NEW.sha256)
    cloud.hub_accepts = {OLD.sha256}
    return cloud


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    store = CertificateStore(tmp_path / "store")
    store.stage(OLD)
    store.commit(HERE)
    return store


@pytest.fixture
def start(cloud: Cloud, store: CertificateStore) -> Iterator[Start]:
    running: list[DeviceAgent] = []

    def start(
        source: FakeSource, *, now: datetime | None = None, observe: Any = None, poll_interval_s: float = 60.0
    ) -> tuple[DeviceAgent, Timeline]:
        timeline = Timeline()
        config = Config("dev1", "0ne1", "dps", poll_interval_s=poll_interval_s, backoff=Backoff(0.05, 0.2))
        agent = DeviceAgent(
            config,
            store,
            source,
            observe or timeline,
            registration=cloud,
            hub=cloud,
            now=lambda: now or datetime.now(UTC),
        )
        running.append(agent)
        agent.start()
        return agent, timeline

    yield start
    for agent in running:
        agent.stop()


def call(cloud: Cloud, credential: Credential | None = None) -> int:
    assert cloud.session is not None
    payload = {"rollover_id": "r1", "sha256_thumbprint": credential.sha256} if credential else None
    return cloud.session.call("reprovision", payload).status


def test_a_swap_happens_once_however_often_it_is_asked_for(start: Start, cloud: Cloud) -> None:
    agent, timeline = start(FakeSource(OLD, NEW))
    timeline.wait_for("connected")
    session = cloud.session
    assert session is not None
    answers = {session.call("reprovision", {"sha256_thumbprint": NEW.sha256}).status for _ in range(5)}
    timeline.wait_for("swapped")
    assert answers <= {202, 200}
    eventually(lambda: call(cloud, NEW) == 200)
    assert timeline.names().count("swapped") == 1
    eventually(agent._inbox.empty)
    assert agent._lookout.wanted is None, "the agent goes on looking for what it is on"
    assert agent.current_thumbprint == NEW.sha256


def test_a_device_of_a_group_that_knows_nothing_newer_registers_again_when_it_is_asked_to(
    start: Start, cloud: Cloud
) -> None:
    _, timeline = start(FakeSource(OLD))
    timeline.wait_for("connected")
    assert cloud.session is not None
    told = {"rollover_id": "r1", "enrollment_group": "pumps"}
    assert cloud.session.call("reprovision", told).status == 409
    before = timeline.names().count("registered")
    assert cloud.session.call("reprovision", {**told, "register_again": True}).status == 202
    timeline.wait_for("registered", before + 1, sha256=OLD.sha256)


def test_the_old_session_ends_only_after_the_hub_accepted_the_new_certificate(start: Start, cloud: Cloud) -> None:
    _, timeline = start(FakeSource(NEW))
    timeline.wait_for("connected")
    assert call(cloud) == 202
    timeline.wait_for("swapped")
    names = timeline.names()
    assert "disconnected" not in names
    assert names[-5:] == ["registering", "registered", "connecting", "connected", "swapped"]


def test_a_poll_finds_a_new_certificate_without_being_asked(start: Start, cloud: Cloud) -> None:
    _, timeline = start(FakeSource(NEW), poll_interval_s=0.1)
    timeline.wait_for("swapped", sha256=NEW.sha256)


def test_the_certificate_the_device_came_from_is_not_taken_again_unless_named(start: Start, cloud: Cloud) -> None:
    source = FakeSource(NEW)
    agent, timeline = start(source, poll_interval_s=0.1)
    timeline.wait_for("swapped", sha256=NEW.sha256)
    source.credentials = [OLD]
    assert call(cloud) == 409
    before = source.asked
    eventually(lambda: source.asked >= before + 3)
    assert agent.current_thumbprint == NEW.sha256
    assert call(cloud, OLD) == 202
    timeline.wait_for("swapped", sha256=OLD.sha256)


@pytest.mark.parametrize("bad", [issue("dev2"), issue(age=timedelta(days=91)), issue(age=timedelta(hours=-1))])
def test_a_certificate_the_device_cannot_use_is_not_taken(start: Start, cloud: Cloud, bad: Any) -> None:
    cloud.enrolled.add(bad.credential.sha256)
    _, timeline = start(FakeSource(bad.credential))
    timeline.wait_for("connected")
    assert call(cloud, bad.credential) == 409


def test_a_candidate_that_is_refused_gives_way_to_a_newer_one(start: Start, cloud: Cloud) -> None:
    source = FakeSource(NEXT)
    agent, timeline = start(source)
    timeline.wait_for("connected")
    assert call(cloud) == 202
    timeline.wait_for("rolled_back", sha256=NEXT.sha256)
    assert agent.current_thumbprint == OLD.sha256
    source.credentials = [NEW]
    assert call(cloud, NEW) == 202
    timeline.wait_for("swapped", sha256=NEW.sha256)
    assert all(what != "hub refused" for what, _ in cloud.log)


def test_a_candidate_whose_fate_is_open_keeps_its_slot(start: Start, cloud: Cloud, store: CertificateStore) -> None:
    """DPS may have told the hub already: the candidate may be the only one that the hub accepts."""
    source = FakeSource(NEW)
    _, timeline = start(source, poll_interval_s=0.1)
    timeline.wait_for("connected")
    cloud.reachable = False
    timeline.wait_for("unreachable", sha256=NEW.sha256)
    source.credentials = [NEXT]
    timeline.wait_for("unreachable", sha256=NEW.sha256, count=10)
    assert store.candidate is not None
    assert store.candidate.credential == NEW


def test_refused_everywhere_the_device_takes_what_the_source_has(start: Start, cloud: Cloud) -> None:
    cloud.hub_accepts, cloud.enrolled = set(), {NEXT.sha256}
    source = FakeSource()
    _, timeline = start(source)
    timeline.wait_for("refused", service="dps", count=2)
    source.credentials = [NEXT]
    timeline.wait_for("swapped", sha256=NEXT.sha256)


def test_a_source_that_cannot_be_read_stops_nothing(start: Start, cloud: Cloud) -> None:
    source = FakeSource()
    source.credentials = None
    agent, timeline = start(source, poll_interval_s=0.05)
    timeline.wait_for("connected")
    assert call(cloud) == 409
    source.credentials = [NEW]
    timeline.wait_for("swapped")
    assert agent.online


def test_a_lost_session_is_made_again_without_a_registration(start: Start, cloud: Cloud) -> None:
    _, timeline = start(FakeSource())
    timeline.wait_for("connected")
    assert cloud.session is not None
    cloud.session.cut()
    timeline.wait_for("connected", count=2)
    assert [what for what, _ in cloud.log] == ["connected", "connected"]


def test_an_unknown_method_is_not_found(start: Start, cloud: Cloud) -> None:
    _, timeline = start(FakeSource())
    timeline.wait_for("connected")
    assert cloud.session is not None
    assert cloud.session.call("reboot", None).status == 404


def test_a_full_disk_keeps_the_device_online_on_the_old_certificate(
    start: Start, cloud: Cloud, store: CertificateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store._disk, "create", full)
    agent, timeline = start(FakeSource(NEW))
    timeline.wait_for("connected")
    call(cloud)
    eventually(lambda: call(cloud) == 202)
    assert agent.online
    assert agent.current_thumbprint == OLD.sha256
    monkeypatch.undo()
    timeline.wait_for("swapped", sha256=NEW.sha256)


def test_an_observer_that_fails_does_not_stop_the_agent(start: Start, cloud: Cloud) -> None:
    def observe(event: str, fields: dict[str, Any]) -> None:
        raise RuntimeError(event)

    agent, _ = start(FakeSource(NEW), observe=observe, poll_interval_s=0.1)
    eventually(lambda: agent.current_thumbprint == NEW.sha256)


def test_an_error_in_the_agent_is_a_restart_from_the_store(
    start: Start, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken_for_now:
        broken_for_now.setattr(cloud, "register", broken)
        agent, timeline = start(FakeSource(NEW))
        timeline.wait_for("connected")
        assert call(cloud) == 202
        timeline.wait_for("registering", count=2)
    timeline.wait_for("swapped", sha256=NEW.sha256)
    assert agent.online


def test_no_private_key_is_in_a_log_or_an_event(start: Start, cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    _, timeline = start(FakeSource(NEXT, NEW), poll_interval_s=0.1)
    timeline.wait_for("swapped")
    told = caplog.text + repr(timeline.events)
    for credential in (OLD, NEW, NEXT):
        assert credential.pem.splitlines()[1].decode() not in told


def test_stop_ends_session_and_thread(start: Start, cloud: Cloud) -> None:
    agent, timeline = start(FakeSource())
    timeline.wait_for("connected")
    agent.stop()
    assert cloud.session is None
    assert not agent._thread.is_alive()
