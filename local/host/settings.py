"""host.json, keys and app settings, as the real host reads them."""

import json
import os
import re
import secrets
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
    """Read ``host.json``. ``BadSetting`` when it is missing or not JSON."""
    path = app / "host.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        extensions = document.get("extensions", {})
        queues = extensions.get("queues", {})
        batch = min(int(queues.get("batchSize", 16)), 32)
        return HostOptions(
            queues=QueueOptions(
                max_polling_interval=parse_span(queues.get("maxPollingInterval", "00:01:00")),
                visibility_timeout=parse_span(queues.get("visibilityTimeout", "00:00:00")),
                batch_size=batch,
                max_dequeue_count=int(queues.get("maxDequeueCount", 5)),
                new_batch_threshold=int(queues.get("newBatchThreshold", batch // 2)),
                base64=queues.get("messageEncoding", "base64").lower() == "base64",
            ),
            route_prefix=extensions.get("http", {}).get("routePrefix", "api").strip("/"),
        )
    except (OSError, ValueError, AttributeError) as error:
        raise BadSetting(f"{path.name} cannot be used: {error}") from None


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


def read_keys(path: Path | None) -> dict[str, str]:
    """The host's keys, made and kept (0600) when the file is not there."""
    names = ("master", "function", "eventgrid_extension")
    if path is not None and path.exists():
        try:
            found: dict[str, str] = json.loads(path.read_text())
            return {name: found[name] for name in names}
        except (ValueError, KeyError, TypeError) as error:
            raise BadSetting(f"the keys file {path.name} cannot be used: {type(error).__name__}") from None
    keys = {name: secrets.token_urlsafe(32) for name in names}
    if path is not None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(keys, file)
    return keys
