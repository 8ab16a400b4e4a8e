"""Event Hubs triggers. There is no Event Hubs on a desk: a batch is posted to the host (see ``web``).

As on Azure, only the ``@retry`` policy tries a failing batch again; when it has ended, or there is none, the
checkpoint moves on and the batch is lost (azure-docs functions-bindings-error-pages).
"""

import asyncio
import json
import logging
from datetime import datetime
from typing import Any

from local.host.clock import now
from local.host.protos import CollectionString, TypedData
from local.host.settings import resolve
from local.host.worker import Function, Worker

log = logging.getLogger("host")


def bound_to(worker: Worker, event_hub: str) -> list[Function]:
    """The functions that read this event hub."""
    hubs = (f for f in worker.functions.values() if f.kind == "eventHubTrigger")
    return [f for f in hubs if resolve(f.trigger["eventHubName"]).lower() == event_hub.lower()]


async def deliver(worker: Worker, function: Function, bodies: list[Any]) -> bool:
    """Hand a batch to a function, with its retry policy; whether it was taken in the end."""
    attempt = 0
    while True:
        if await _once(worker, function, bodies, attempt):
            return True
        if function.retry is None or 0 <= function.retry.count <= attempt:
            log.error("a batch of %d events is lost: %s failed for good", len(bodies), function.name)
            return False
        attempt += 1
        await asyncio.sleep(function.retry.delay.total_seconds())


async def _once(worker: Worker, function: Function, bodies: list[Any], attempt: int) -> bool:
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    many = str(function.trigger.get("cardinality", "many")).lower() == "many"
    moment = now()
    if many:
        system = [_system_properties(number, moment) for number in range(len(texts))]
        metadata = {
            "SystemPropertiesArray": TypedData(json=json.dumps(system)),
            "PropertiesArray": TypedData(json=json.dumps([{}] * len(texts))),
            "PartitionContext": TypedData(json=json.dumps({"PartitionId": "0"})),
        }
        data = TypedData(collection_string=CollectionString(texts))
        return (await worker.invoke(function, data, metadata, attempt)).ok
    results = []
    for number, text in enumerate(texts):
        properties = _system_properties(number, moment)
        metadata = {
            "EnqueuedTimeUtc": TypedData(json=json.dumps(properties["EnqueuedTimeUtc"])),
            "SequenceNumber": TypedData(json=json.dumps(number)),
            "Offset": TypedData(string=str(number)),
            "PartitionKey": TypedData(string=""),
            "SystemProperties": TypedData(json=json.dumps(properties)),
        }
        results.append((await worker.invoke(function, TypedData(string=text), metadata, attempt)).ok)
    return all(results)


def _system_properties(number: int, moment: datetime) -> dict[str, Any]:
    return {
        "SequenceNumber": number,
        "Offset": str(number),
        "EnqueuedTimeUtc": moment.isoformat(),
        "PartitionKey": None,
    }
