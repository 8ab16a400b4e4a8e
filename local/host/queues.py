"""Storage queue triggers over Azurite, with the real extension's rules.

A message is leased and renewed while its function runs; a failing one comes back after ``visibilityTimeout`` until
its dequeue count reaches ``maxDequeueCount``, then it goes to ``<queue>-poison``; one that cannot be decoded goes
there at once, with no call, and so does one whose count is beyond the maximum because hosts died under it. A poison
queue has no poison queue of its own: what fails there is left alone until its lease ends, and is not called again
beyond the maximum (azure-docs functions-bindings-storage-queue; azure-sdk-for-net#18326, QueueProcessor.cs and
QueueListenerFactory.cs of Microsoft.Azure.WebJobs.Extensions.Storage.Queues).
"""

import asyncio
import base64
import contextlib
import logging

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from local.host.protos import TypedData
from local.host.queue_messages import account_of, metadata_of
from local.host.settings import QueueOptions, resolve
from local.host.waiting import any_ends, rest
from local.host.worker import Function, Worker

log = logging.getLogger("host")
FIRST_POLL_S = 0.1
SLOWER = 1.5  # each poll that finds nothing makes the next pause longer, up to maxPollingInterval
AGAIN_S = 1.0
POISON = "-poison"


class QueueListener:
    """Polls one queue and runs one function for each message."""

    def __init__(self, worker: Worker, function: Function, options: QueueOptions, lease_s: float) -> None:
        self._worker = worker
        self._function = function
        self._options = options
        self._lease_s = max(1, int(lease_s))
        self._name = resolve(function.trigger["queueName"])
        self._account = account_of(function.trigger.get("connection") or "AzureWebJobsStorage")
        self._queue = self._account.get_queue_client(self._name)
        poison = None if self._name.endswith(POISON) else self._account.get_queue_client(self._name + POISON)
        self._poison: QueueClient | None = poison
        self._running: set[asyncio.Task[None]] = set()
        self._silent = False  # whether the storage does not answer, which is said once

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until it is time to stop, then wait for what runs. A storage that does not answer is tried again."""
        pause = FIRST_POLL_S
        await self._make(self._queue, stop)
        while not stop.is_set():
            if len(self._running) > self._options.new_batch_threshold:
                await any_ends(self._running, stop)
                continue
            found = await self._fetch(stop)
            for message in found:
                task = asyncio.create_task(self._give_back(message) if stop.is_set() else self._handle(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if found:
                pause = FIRST_POLL_S
                continue
            if self._silent:
                await rest(stop, AGAIN_S)
                continue
            await rest(stop, pause)
            pause = min(pause * SLOWER, self._options.max_polling_interval.total_seconds())
        await asyncio.gather(*self._running, return_exceptions=True)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._account.close()

    async def _fetch(self, stop: asyncio.Event) -> list[QueueMessage]:
        """One batch; a further page could fail and take this one with it."""
        found: list[QueueMessage] = []
        try:
            batch = self._queue.receive_messages(
                messages_per_page=self._options.batch_size, visibility_timeout=self._lease_s, retry_total=0
            )
            async for page in batch.by_page():
                found = [message async for message in page]
                break
        except ResourceNotFoundError:
            log.warning("queue %s is gone; it is made again", self._name)
            await self._make(self._queue, stop)
        except AzureError as error:
            self._says(answers=False, why=error)
        else:
            self._says(answers=True)
        return found

    def _says(self, *, answers: bool, why: AzureError | None = None) -> None:
        if self._silent == answers:
            self._silent = not answers
            if answers:
                log.info("queue %s can be reached again", self._name)
            else:
                log.warning("queue %s cannot be reached, which is tried again: %s", self._name, type(why).__name__)

    async def _make(self, queue: QueueClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await queue.create_queue(retry_total=0)
            except ResourceExistsError:
                return
            except AzureError as error:
                self._says(answers=False, why=error)
                await rest(stop, AGAIN_S)
            else:
                return

    async def _give_back(self, message: QueueMessage) -> None:
        """It came when it was time to stop: let the next host have it at once, not only when the lease ends."""
        try:
            await self._queue.update_message(message, visibility_timeout=0)
        except AzureError as error:
            log.warning("a message of %s could not be given back: %s", self._name, type(error).__name__)

    async def _handle(self, message: QueueMessage) -> None:
        text = self._decode(message)
        count, most = message.dequeue_count or 1, self._options.max_dequeue_count
        try:
            if text is None:
                await self._to_poison(message, "is not valid base64 text")
            elif count > most:
                await self._to_poison(message, f"was taken {count} times")
            elif await self._run_leased(message, text):
                await self._queue.delete_message(message)
            elif count >= most:
                await self._to_poison(message, f"failed {count} times")
            elif self._poison is not None:
                delay = int(self._options.visibility_timeout.total_seconds())
                await self._queue.update_message(message, visibility_timeout=delay)
        except AzureError as error:
            log.warning("a message of %s could not be settled: %s", self._name, type(error).__name__)

    def _decode(self, message: QueueMessage) -> str | None:
        content: str = message.content or ""
        if not self._options.base64:
            return content
        try:
            return base64.b64decode(content, validate=True).decode("utf-8")
        except ValueError:
            return None

    async def _run_leased(self, message: QueueMessage, text: str) -> bool:
        """Run the function while the lease is renewed; whether it went well."""
        ended = asyncio.Event()
        renewal = asyncio.create_task(self._renew(message, ended))
        outcome = await self._worker.invoke(self._function, TypedData(string=text), metadata_of(message, text))
        ended.set()
        # Never cancelled: a renewal under way changes the pop receipt, without which the message cannot be settled.
        await renewal
        return outcome.ok

    async def _renew(self, message: QueueMessage, ended: asyncio.Event) -> None:
        while not await rest(ended, self._lease_s / 2):
            try:
                renewed = await self._queue.update_message(message, visibility_timeout=self._lease_s)
                message.pop_receipt = renewed.pop_receipt
            except AzureError as error:
                log.warning("the lease of a message of %s was not renewed: %s", self._name, type(error).__name__)

    async def _to_poison(self, message: QueueMessage, why: str) -> None:
        if self._poison is None:
            log.error("a message of %s %s; it stays there, not called again", self._name, why)
            return
        log.error("a message of %s %s; it goes to %s", self._name, why, self._poison.queue_name)
        with contextlib.suppress(ResourceExistsError):
            await self._poison.create_queue()
        # With the default time to live of 7 days, as the real extension sends it.
        await self._poison.send_message(message.content)
        await self._queue.delete_message(message)
