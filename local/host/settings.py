"""host.json and app settings, as the real host reads them."""

import json
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any


class BadSetting(Exception):
    """A file or setting that the host cannot use; the text is one line."""


@dataclass(frozen=True)
class QueueOptions:
    """``extensions.queues`` of host.json, with the documented defaults (functions-bindings-storage-queue)."""

    max_polling_interval: timedelta = timedelta(minutes=1)
    visibility_timeout: timedelta = timedelta(0)
    batch_size: int = 16
    max_dequeue_count: int = 5
    new_batch_threshold: int = 8
    base64: bool = True


@dataclass(frozen=True)
class HostOptions:
    """What host.json says, as far as this host acts on it; unknown keys are ignored, as there."""

    queues: QueueOptions
    route_prefix: str


def read_host_json(app: Path) -> HostOptions:
    """Read ``host.json``. ``BadSetting`` when it is missing, not JSON, or holds what the real host refuses."""
    path = app / "host.json"
    try:
        extensions: dict[str, Any] = json.loads(path.read_text()).get("extensions", {})
        prefix: str = extensions.get("http", {}).get("routePrefix", "api")
        return HostOptions(queues=_queue_options(extensions.get("queues", {})), route_prefix=prefix.strip("/"))
    except OSError as error:
        raise BadSetting(f"{path.name} cannot be read: {error.strerror}") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise BadSetting(f"{path.name} cannot be used: {error}") from None


def _queue_options(queues: dict[str, Any]) -> QueueOptions:
    batch = int(queues.get("batchSize", 16))
    options = QueueOptions(
        max_polling_interval=parse_span(queues.get("maxPollingInterval", "00:01:00")),
        visibility_timeout=parse_span(queues.get("visibilityTimeout", "00:00:00")),
        batch_size=batch,
        max_dequeue_count=int(queues.get("maxDequeueCount", 5)),
        new_batch_threshold=int(queues.get("newBatchThreshold", batch // 2)),
        base64=queues.get("messageEncoding", "base64").lower() == "base64",
    )
    limits = {
        "batchSize must be 1 to 32": 1 <= batch <= 32,
        "maxDequeueCount must be 1 or more": options.max_dequeue_count >= 1,
        "newBatchThreshold must be 0 or more": options.new_batch_threshold >= 0,
        "maxPollingInterval must be 00:00:00.100 or more": options.max_polling_interval >= timedelta(milliseconds=100),
    }
    for rule, kept in limits.items():
        if not kept:
            raise ValueError(f"extensions.queues.{rule}")
    return options


def parse_span(text: str) -> timedelta:
    """A .NET time span: ``[d.]hh:mm:ss[.fff]``."""
    found = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)", text)
    if found is None:
        raise ValueError(f"{text!r} is not a time span")
    days, hours, minutes, seconds = found.groups()
    return timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=float(seconds))


def resolve(text: str) -> str:
    """Replace ``%NAME%`` by the app setting. ``BadSetting`` when there is none, as the real host refuses."""

    def setting(found: re.Match[str]) -> str:
        value = os.environ.get(found[1])
        if value is None:
            raise BadSetting(f"'%{found[1]}%' does not resolve to a value: there is no such app setting")
        return value

    return re.sub(r"%([^%]+)%", setting, text)


def connection_of(name: str) -> dict[str, str]:
    """The connection that a binding names: ``connection_string`` or ``queue_url`` (identity).

    A plain setting wins over the ``__`` form, and ``AzureWebJobs`` may be put before (functions-reference).
    """
    for prefix in (name, f"AzureWebJobs{name}"):
        if value := os.environ.get(prefix):
            return {"connection_string": value}
        if value := os.environ.get(f"{prefix}__queueServiceUri"):
            return {"queue_url": value}
    raise BadSetting(f"there is no storage connection {name!r}: set {name} or {name}__queueServiceUri")
