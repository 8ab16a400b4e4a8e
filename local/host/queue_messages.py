"""What a queue trigger takes from Storage: the account behind a connection, the metadata of a message."""

import json
from datetime import datetime
from typing import Any

from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueServiceClient

from local.host.protos import TypedData
from local.host.settings import BadSetting, connection_of

RETRIES: dict[str, Any] = {"initial_backoff": 1, "increment_base": 1, "retry_total": 3, "random_jitter_range": 0}
"""Seconds between the SDK's tries: its own 15 and more are too long on a desk, where Azurite has just been started."""


def account_of(connection: str) -> QueueServiceClient:
    """A client for the account behind a binding's connection setting. ``BadSetting`` when there is no such."""
    found = connection_of(connection)
    if "connection_string" in found:
        try:
            return QueueServiceClient.from_connection_string(found["connection_string"], **RETRIES)
        except ValueError:  # its text is not shown, for it may hold the account's key
            raise BadSetting(f"the setting {connection} is not a storage connection string") from None
    # Imported here: only an app with identity-based connections needs it.
    from azure.identity.aio import DefaultAzureCredential

    return QueueServiceClient(found["queue_url"], credential=DefaultAzureCredential(), **RETRIES)


def metadata_of(message: QueueMessage, text: str) -> dict[str, TypedData]:
    """What the host adds to a queue message (azure-functions-host GrpcMessageConversionExtensions.ToRpc)."""
    times: dict[str, datetime | None] = {
        "ExpirationTime": message.expires_on,
        "InsertionTime": message.inserted_on,
        "NextVisibleTime": message.next_visible_on,
    }
    return {
        "Id": TypedData(string=message.id),
        "DequeueCount": TypedData(json=json.dumps(message.dequeue_count)),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "QueueTrigger": TypedData(string=text),
        **{name: TypedData(json=json.dumps(time.isoformat())) for name, time in times.items() if time},
    }


def metadata_by_hand(text: str) -> dict[str, TypedData]:
    """The metadata of a message that was never in a queue: the function was asked for by an administrator."""
    return metadata_of(QueueMessage(content=text, id="by-hand", dequeue_count=1, pop_receipt=""), text)
