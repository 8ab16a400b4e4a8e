"""Rolls the same kind of fleet three ways on one stand-in: the product, a plain script, the script with asyncio."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bench.fleet import Fleet
from bench.running import running
from bench.script import Script
from local.rehearse.calling import api_of

# Everything is due and retired once the device moved: the script knows no other way.
SETTINGS = {"RETIRE_WHEN": "moved", "ROLL_DAYS_BEFORE_EXPIRY": "4000", "ROLL_LIFETIME_SHARE": "0.999999"}
AT_ONCE = 8  # the hub runs at most 10 jobs at once (S3)


@dataclass(frozen=True)
class Measured:
    """One way of rolling."""

    way: str
    seconds: float
    requests: int


def measure_rolling(count: int) -> list[Measured]:
    """Time and requests of each way; the script, one after another, first."""
    with running(SETTINGS) as (document, folder):
        return _measure(document, count, folder)


def _measure(document: dict[str, Any], count: int, folder: Path) -> list[Measured]:
    control = document["control"]["url"]
    measured = []
    ways: list[tuple[str, str, Callable[[Fleet], None]]] = [
        ("script, one after another", "plain", lambda fleet: _one_by_one(document, fleet)),
        (f"script, asyncio, {AT_ONCE} at once", "async", lambda fleet: asyncio.run(_at_once(document, fleet))),
        ("product", "product", lambda fleet: _product(document, fleet)),
    ]
    for way, prefix, roll in ways:
        with Fleet(document, prefix, count, folder) as fleet:
            since = _last(control)
            begun = time.perf_counter()
            roll(fleet)
            seconds = time.perf_counter() - begun
            measured.append(Measured(way, seconds, _requests(control, since)))
            fleet.take_away()  # so that the next way's sweep does not find it
    return measured


def _one_by_one(document: dict[str, Any], fleet: Fleet) -> None:
    script = Script(document)
    for name in fleet.names:
        script.roll(name)


async def _at_once(document: dict[str, Any], fleet: Fleet) -> None:
    script = Script(document)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, script.roll, name) for name in fleet.names))


def _product(document: dict[str, Any], fleet: Fleet) -> None:
    api = api_of(document, "auditor")
    # An hour passes, so that the sweep's timer fires.
    requests.put(f"{document['control']['url']}/clock", json={"advance_s": 3600}, timeout=10).raise_for_status()
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        answer = api.call("GET", "/api/rollovers", params={"status": "done"})
        answer.raise_for_status()
        done = answer.json()["rollovers"]
        if len(done) >= len(fleet.names):
            return
        time.sleep(1)
    raise RuntimeError(f"only {len(done)} of {len(fleet.names)} rollovers were done in 15 minutes")


def _last(control: str) -> int:
    entries = requests.get(f"{control}/journal", params={"kind": "request"}, timeout=60).json()
    return int(entries[-1]["seq"]) if entries else 0


def _requests(control: str, since: int) -> int:
    """Requests of the roller: not the devices' registrations, nor their reading of secrets, nor whether we may ask."""
    entries = requests.get(f"{control}/journal", params={"kind": "request", "since": since}, timeout=60).json()
    others = ("Device", "GetSecret")
    return sum(1 for e in entries if e["service"] != "entra" and not str(e["operation"]).startswith(others))
