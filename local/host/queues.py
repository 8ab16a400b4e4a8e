"""Storage queue triggers over Azurite, with the real extension's rules.

A message is leased and renewed while its function runs; a failing one comes back after ``visibilityTimeout`` until
its dequeue count reaches ``maxDequeueCount``, then it goes to ``<queue>-poison``; one that cannot be decoded goes
there at once, with no call (azure-docs functions-bindings-storage-queue; azure-sdk-for-net#18326).
"""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.host.protos import TypedData
from local.host.settings import QueueOptions, connection_of, resolve
from local.host.worker import Function, Worker

log = logging.getLogger("host")
FIRST_POLL_S = 0.1
NEVER = -1


def service_of(connection: str) -> QueueServiceClient:
    """A client for the account behind a binding's connection setting."""
    found = connection_of(connection)
    if "connection_string" in found:
        return QueueServiceClient.from_connection_string(found["connection_string"])
    # Imported here: only an app with identity-based connections needs it.
    from azure.identity.aio import DefaultAzureCredential

    return QueueServiceClient(found["queue_url"], credential=DefaultAzureCredential())


class QueueListener:
    """Polls one queue and runs one function for each message."""

    def __init__(self, worker: Worker, function: Function, options: QueueOptions, lease_s: float) -> None:
        self._worker = worker
        self._function = function
        self._options = options
        self._lease_s = max(1, int(lease_s))
        self._name = resolve(function.trigger["queueName"])
        self._service = service_of(function.trigger.get("connection") or "AzureWebJobsStorage")
        self._queue = self._service.get_queue_client(self._name)
        self._poison = self._service.get_queue_client(f"{self._name}-poison")
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll until cancelled; a storage that does not answer is tried again."""
        await _make(self._queue)
        pause = FIRST_POLL_S
        while True:
            room = self._options.new_batch_threshold - len(self._running)
            found = await self._fetch() if room >= 0 else []
            for message in found:
                task = asyncio.create_task(self._handle(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if found:
                pause = FIRST_POLL_S
            elif room >= 0:
                pause = min(pause * 1.5, self._options.max_polling_interval.total_seconds())
            await asyncio.sleep(0 if found else pause)

    async def drain(self) -> None:
        """Wait for the invocations that run."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._service.close()

    async def _fetch(self) -> list[QueueMessage]:
        try:
            pages = self._queue.receive_messages(
                max_messages=self._options.batch_size,
                messages_per_page=self._options.batch_size,
                visibility_timeout=self._lease_s,
            ).by_page()
            async for page in pages:
                return [message async for message in page]
        except AzureError as error:
            log.warning("queue %s cannot be read: %s", self._name, type(error).__name__)
        return []

    async def _handle(self, message: QueueMessage) -> None:
        try:
            text = _decode(message.content) if self._options.base64 else message.content
        except ValueError:
            log.error("a message of %s is not valid base64 text; it goes to %s-poison", self._name, self._name)
            await self._to_poison(message)
            return
        renewal = asyncio.create_task(self._renew(message))
        outcome = await self._worker.invoke(self._function, TypedData(string=text), _metadata(message, text))
        renewal.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewal
        try:
            if outcome.ok:
                await self._queue.delete_message(message)
            elif (message.dequeue_count or 1) >= self._options.max_dequeue_count:
                log.error("a message of %s failed %s times; it goes to poison", self._name, message.dequeue_count)
                await self._to_poison(message)
            else:
                delay = int(self._options.visibility_timeout.total_seconds())
                await self._queue.update_message(message, visibility_timeout=delay)
        except AzureError as error:
            log.warning("a message of %s could not be settled: %s", self._name, type(error).__name__)

    async def _renew(self, message: QueueMessage) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 2)
            with contextlib.suppress(AzureError):
                renewed = await self._queue.update_message(message, visibility_timeout=self._lease_s)
                message.pop_receipt = renewed.pop_receipt

    async def _to_poison(self, message: QueueMessage) -> None:
        await _make(self._poison)
        await self._poison.send_message(message.content, time_to_live=NEVER)
        await self._queue.delete_message(message)


async def _make(queue: QueueClient) -> None:
    while True:
        try:
            await queue.create_queue()
        except ResourceExistsError:
            return
        except AzureError as error:
            log.warning("queue %s cannot be made yet: %s", queue.queue_name, type(error).__name__)
            await asyncio.sleep(1)
        else:
            return


def _decode(content: str) -> str:
    try:
        return base64.b64decode(content, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise ValueError(type(error).__name__) from None


def _metadata(message: QueueMessage, text: str) -> dict[str, TypedData]:
    """What the host adds to a queue message (GrpcMessageConversionExtensions.ToRpc)."""

    def quoted(value: datetime | None) -> TypedData:
        return TypedData(json=json.dumps(value.isoformat() if value else None))

    values: dict[str, Any] = {
        "Id": TypedData(string=message.id),
        "DequeueCount": TypedData(json=json.dumps(message.dequeue_count)),
        "ExpirationTime": quoted(message.expires_on),
        "InsertionTime": quoted(message.inserted_on),
        "NextVisibleTime": quoted(message.next_visible_on),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "QueueTrigger": TypedData(string=text),
    }
    return values
