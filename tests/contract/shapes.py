"""Compares the shape of a recorded answer with that of ours: which keys, which types, which text formats.

The values themselves differ (the recorder replaced certificates and thumbprints by words, and times pass).
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def recording(name: str) -> list[dict[str, Any]]:
    """The exchanges of one recording: method, path, requestHeaders, requestBody, status, responseHeaders,
    responseBody.
    """
    entries: list[dict[str, Any]] = json.loads((RECORDINGS / name).read_text())["entries"]
    return entries


def differences(recorded: Any, answered: Any, where: str = "$") -> list[str]:
    """One line for each place where the shapes differ; empty when they are the same."""
    if isinstance(recorded, dict) and isinstance(answered, dict):
        lines = [f"{where}.{key} is missing" for key in recorded if key not in answered]
        lines += [f"{where}.{key} is not in the recording" for key in answered if key not in recorded]
        for key in recorded.keys() & answered.keys():
            lines += differences(recorded[key], answered[key], f"{where}.{key}")
        return sorted(lines)
    if isinstance(recorded, list) and isinstance(answered, list):
        if len(recorded) != len(answered):
            return [f"{where} has {len(answered)} items, recorded {len(recorded)}"]
        pairs = enumerate(zip(recorded, answered, strict=True))
        return [line for at, (one, other) in pairs for line in differences(one, other, f"{where}[{at}]")]
    mine, theirs = _kind(answered), _kind(recorded)
    return [] if mine == theirs else [f"{where} is {mine}, recorded {theirs}"]


def header_differences(recorded: Mapping[str, str], answered: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """The same for headers: which of `names` are there. Values are compared for Content-Type and x-ms-item-
    type.
    """
    theirs = {name.lower(): value for name, value in recorded.items()}
    mine = {name.lower(): value for name, value in answered.items()}
    lines = [
        f"{name}: {mine.get(name)!r}, recorded {theirs.get(name)!r}"
        for name in map(str.lower, names)
        if (name in mine) != (name in theirs)
    ]
    for name in ("content-type", "x-ms-item-type"):
        if name in mine and name in theirs and mine[name] != theirs[name]:
            lines.append(f"{name}: {mine[name]!r}, recorded {theirs[name]!r}")
    return lines


def _kind(value: Any) -> str:
    if isinstance(value, str):
        # Times count by their number of digits: certificates have no fraction, entries have seven digits.
        return re.sub(r"\d", "9", value) if _TIME.fullmatch(value) else "text"
    if isinstance(value, bool) or value is None:
        return json.dumps(value) if value is None else "bool"
    return type(value).__name__
