"""Storage queue triggers over Azurite: leases, counts, retries, poison.

Source: azure-docs functions-bindings-storage-queue where no other is named.
"""

import base64
import json
import time
import uuid
from collections.abc import Callable

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from local.azurite import QUEUE
from tests.host.conftest import StartHost
from tests.host.hosts import Host, until
from tests.host.target import Bridge, Target

type QueueOf = Callable[[str], QueueClient]
type StartWriter = Callable[..., tuple[Host, QueueClient]]


@pytest.fixture
def work(queue_of: QueueOf, work_queue: str, triggers: Host) -> QueueClient:
    """The queue of the function `on_work`; batchSize 2, newBatchThreshold 1, visibilityTimeout 1 s, lease 2 s."""
    return queue_of(work_queue)


@pytest.fixture
def start_writer(start_host: StartHost, azurite: str, target: Target, queue_of: QueueOf) -> StartWriter:
    """Starts a host on the app `writer`, whose queue function writes each message to the target; with its queue."""
    own = f"writer-{uuid.uuid4().hex[:8]}"

    def start(*options: str, storage: str = azurite, queue_name: str = own) -> tuple[Host, QueueClient]:
        host = start_host(
            "writer", "--queue-lease", "1", *options, SampleStorage=storage, QUEUE=queue_name, TARGET=target.url
        )
        queue = queue_of(queue_name)
        until(lambda: host.process.poll() is not None or exists(queue), "the host made its queue")
        return host, queue

    return start


def message(**what: object) -> str:
    return json.dumps(what)


FAILING = message(id="never", fail=99)


@pytest.fixture(scope="module", autouse=True)
def failing(triggers: Host, azurite: str, work_queue: str) -> None:
    """A message that always fails, on its way to the poison queue while the tests run."""
    client = QueueClient.from_connection_string(azurite, work_queue, message_encode_policy=TextBase64EncodePolicy())
    until(lambda: exists(client), "the host made its queue")
    client.send_message(FAILING)


def contents(queue: QueueClient) -> list[str]:
    """What lies visible in a queue; nothing when there is no such queue."""
    try:
        return [one.content for one in queue.peek_messages(32)]
    except ResourceNotFoundError:
        return []


def exists(queue: QueueClient) -> bool:
    try:
        queue.get_queue_properties()
    except ResourceNotFoundError:
        return False
    return True


def test_a_message_is_deleted_after_it_was_worked_on_once(writer: Host, target: Target, queue_of: QueueOf) -> None:
    queue = queue_of("writes")
    until(lambda: exists(queue), "the host made the queue")
    queue.send_message("once")
    until(lambda: target.received, "the function ran")
    until(lambda: queue.get_queue_properties().approximate_message_count == 0, "the message is gone")
    assert target.received == ["PUT /once"]


def test_a_failing_message_comes_back_after_the_delay_until_it_succeeds(triggers: Host, work: QueueClient) -> None:
    work.send_message(message(id="twice", fail=1))
    until(lambda: len(triggers.seen("work", id="twice")) == 2, "the function ran again")
    first, second = triggers.seen("work", id="twice")
    assert (first["count"], second["count"]) == (1, 2)
    assert second["at"] - first["at"] >= 1  # visibilityTimeout


def test_a_message_that_is_not_base64_is_poisoned_without_a_call(
    triggers: Host, work: QueueClient, azurite: str
) -> None:
    """azure-sdk-for-net#18326."""
    calls = len(triggers.seen("work"))
    QueueClient.from_connection_string(azurite, work.queue_name).send_message("no base64!")
    poison = QueueClient.from_connection_string(azurite, f"{work.queue_name}-poison")
    until(lambda: "no base64!" in contents(poison), "the message is poisoned")
    assert len(triggers.seen("work")) == calls


def test_an_empty_message_is_a_call(triggers: Host, work: QueueClient) -> None:
    work.send_message("")
    until(lambda: triggers.seen("worked", id=None), "the function ran")


def test_no_more_run_at_once_than_host_json_allows(triggers: Host, work: QueueClient) -> None:
    """batchSize + newBatchThreshold."""
    for number in range(9):
        work.send_message(message(id=f"crowd-{number}", seconds=0.1 + number % 3 / 5))
    until(lambda: len([n for n in triggers.seen("worked") if str(n["id"]).startswith("crowd")]) == 9, "all ran")
    begun = [(note["at"], 1) for note in triggers.seen("work") if str(note["id"]).startswith("crowd")]
    ended = [(note["at"], -1) for note in triggers.seen("worked") if str(note["id"]).startswith("crowd")]
    at_once = [sum(step for _, step in sorted(begun + ended)[: count + 1]) for count in range(len(begun + ended))]
    assert max(at_once) == 3


def test_the_lease_is_renewed_while_a_function_runs(triggers: Host, work: QueueClient) -> None:
    """The lease here is 2 s; the message is deleted after the run, with the receipt of the last renewal."""
    work.send_message(message(id="long", seconds=2.9))
    until(lambda: triggers.seen("worked", id="long"), "the function ended")
    until(lambda: work.get_queue_properties().approximate_message_count == 0, "the message is gone")
    assert len(triggers.seen("work", id="long")) == 1


def test_the_host_goes_on_when_the_storage_was_away(start_writer: StartWriter, azurite: str, target: Target) -> None:
    bridge = Bridge(QUEUE)
    host, queue = start_writer(storage=azurite.replace(f":{QUEUE}/", f":{bridge.port}/"))
    bridge.take_down()
    queue.send_message("away")
    until(lambda: f"{queue.queue_name} cannot be reached" in host.log, "the host says so")
    time.sleep(1)
    assert bridge.cut <= 10  # one or two connections a second; a loop that spins makes thousands
    assert host.log.count("cannot be reached") == 1
    bridge.put_up()
    until(lambda: target.received == ["PUT /away"], "the message is worked on")
    assert "can be reached again" in host.log
    bridge.stop()


def test_a_queue_that_was_deleted_is_made_again(writer: Host, queue_of: QueueOf) -> None:
    queue = queue_of("writes")
    until(lambda: exists(queue), "the host made its queue")
    queue.delete_queue()
    until(lambda: exists(queue), "the host made it again")
    assert "queue writes is gone; it is made again" in writer.log


def test_a_message_under_which_hosts_died_is_poisoned_in_the_end(
    start_writer: StartWriter, target: Target, queue_of: QueueOf
) -> None:
    """QueueProcessor.BeginProcessingMessageAsync: a count beyond maxDequeueCount (here 2) is not called again."""
    host, queue = start_writer("--die-after-write", "1")
    queue.send_message("deadly")
    assert host.ended() == 137
    assert start_writer("--die-after-write", "1")[0].ended() == 137
    start_writer()
    poison = queue_of(f"{queue.queue_name}-poison")
    until(lambda: contents(poison) == ["deadly"], "it is poisoned")
    assert target.received == ["PUT /deadly"] * 2


def test_a_poison_queue_has_no_poison_queue(start_writer: StartWriter, target: Target, queue_of: QueueOf) -> None:
    """QueueListenerFactory.CreatePoisonQueueReference; what fails there is left until its lease ends."""
    host, queue = start_writer(queue_name=f"{uuid.uuid4().hex[:8]}-poison")
    queue.send_message("refused")
    until(lambda: "failed 2 times; it stays there" in host.log, "the host gave up")
    assert target.received == ["PUT /refused"] * 2
    assert queue.get_queue_properties().approximate_message_count == 1
    assert not exists(queue_of(f"{queue.queue_name}-poison"))


def test_a_message_that_always_fails_is_tried_five_times_then_poisoned(
    triggers: Host, work: QueueClient, azurite: str
) -> None:
    """It was sent before the other tests, for it takes its time."""
    poison = QueueClient.from_connection_string(azurite, f"{work.queue_name}-poison")
    until(lambda: base64.b64encode(FAILING.encode()).decode() in contents(poison), "the message is poisoned")
    assert [note["count"] for note in triggers.seen("work", id="never")] == [1, 2, 3, 4, 5]
