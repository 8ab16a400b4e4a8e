"""Fixtures of the host's tests: hosts on sample apps, queues, and a small server for the app to write to."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from tests.host.hosts import APPS, Host
from tests.host.target import Target

type StartHost = Callable[..., Host]


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[StartHost]:
    """Starts hosts on apps (a name of `apps/`, or a folder); what still runs is ended after the test."""
    started: list[Host] = []

    def start(app: str | Path, *options: str, **settings: str) -> Host:
        host = Host(APPS / app if isinstance(app, str) else app, tmp_path, *options, settings=settings)
        started.append(host)
        return host

    yield start
    for host in started:
        host.kill()


@pytest.fixture(scope="session")
def work_queue() -> str:
    """The queue that the app `triggers` reads."""
    return f"work-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def triggers(azurite: str, work_queue: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host on the app `triggers`, for all tests that leave it as it was."""
    settings = {"SampleStorage": azurite, "WORK_QUEUE": work_queue, "SWEEP": "0 0 * * * *", "ONE_HUB": "single"}
    folder = tmp_path_factory.mktemp("triggers")
    host = Host(APPS / "triggers", folder, "--queue-lease", "2", settings=settings)
    yield host.ready()
    host.kill()


@pytest.fixture
def queue_of(azurite: str) -> Callable[[str], QueueClient]:
    """Clients of queues, base64 as the trigger wants it."""

    def client(name: str) -> QueueClient:
        encode, decode = TextBase64EncodePolicy(), TextBase64DecodePolicy()
        return QueueClient.from_connection_string(
            azurite, name, message_encode_policy=encode, message_decode_policy=decode
        )

    return client


@pytest.fixture(scope="session")
def one_target() -> Iterator[Target]:
    running = Target()
    yield running
    running.stop()


@pytest.fixture
def target(one_target: Target) -> Target:
    """A server that keeps what was written to it; it has nothing yet."""
    one_target.received.clear()
    return one_target


@pytest.fixture(scope="session")
def writer(azurite: str, one_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host on the app `writer`, for all tests that leave it running."""
    settings = {"SampleStorage": azurite, "QUEUE": "writes", "TARGET": one_target.url}
    host = Host(APPS / "writer", tmp_path_factory.mktemp("writer"), settings=settings)
    yield host.ready()
    host.kill()
