"""Event Hubs triggers. There is no Event Hubs on a desk: a batch is posted to the host (see ``web``).

As on Azure, only the ``@retry`` policy tries a failing batch again; when it has ended, or there is none, the
checkpoint moves on and the batch is lost (azure-docs functions-bindings-error-pages).
"""

import json
import logging
from datetime import datetime
from typing import Any

from local.host.clock import now
from local.host.protos import CollectionString, TypedData
from local.host.settings import resolve
from local.host.worker import Function, Worker

log = logging.getLogger("host")


def hub_of(function: Function) -> str:
    """The event hub that a function reads, in lower case. ``BadSetting`` when its name does not resolve."""
    return resolve(function.trigger["eventHubName"]).lower()


async def deliver(worker: Worker, function: Function, bodies: list[Any]) -> bool:
    """Hand a batch to a function, or its events one by one if it takes only one; whether all was taken in the end."""
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    moment = now()
    properties = [_system_properties(number, moment) for number in range(len(texts))]
    if str(function.trigger.get("cardinality", "many")).lower() == "many":
        metadata = {
            "SystemPropertiesArray": TypedData(json=json.dumps(properties)),
            "PropertiesArray": TypedData(json=json.dumps([{}] * len(texts))),
            "PartitionContext": TypedData(json=json.dumps({"PartitionId": "0"})),
        }
        outcomes = [await worker.insist(function, TypedData(collection_string=CollectionString(texts)), metadata)]
    else:
        pairs = zip(texts, properties, strict=True)
        outcomes = [await worker.insist(function, TypedData(string=t), _metadata_of_one(p)) for t, p in pairs]
    lost = sum(not outcome.ok for outcome in outcomes)
    if lost:
        what = f"a batch of {len(texts)} events" if len(outcomes) == 1 else f"{lost} of {len(texts)} events"
        log.error("lost: %s, for %s failed for good", what, function.name)
    return not lost


def _system_properties(number: int, moment: datetime) -> dict[str, Any]:
    return {
        "SequenceNumber": number,
        "Offset": str(number),
        "EnqueuedTimeUtc": moment.isoformat(),
        "PartitionKey": None,
    }


def _metadata_of_one(properties: dict[str, Any]) -> dict[str, TypedData]:
    return {
        "EnqueuedTimeUtc": TypedData(json=json.dumps(properties["EnqueuedTimeUtc"])),
        "SequenceNumber": TypedData(json=json.dumps(properties["SequenceNumber"])),
        "Offset": TypedData(string=properties["Offset"]),
        "PartitionKey": TypedData(string=""),
        "SystemProperties": TypedData(json=json.dumps(properties)),
    }
