"""The host's keys: made once, kept in a file, asked for with each request.

A key comes in ``x-functions-key`` (which wins) or ``?code=``; the master key opens everything (azure-docs
function-keys-how-to).
"""

import hmac
import json
import os
import secrets
from pathlib import Path

from aiohttp import web

from local.host.settings import BadSetting

NAMES = ("master", "function", "eventgrid_extension")


class Keys:
    """The keys by name; never shown."""

    def __init__(self, by_name: dict[str, str]) -> None:
        self._by_name = by_name

    def held_by(self, request: web.Request, *names: str) -> bool:
        """Whether the request carries one of the named keys, or the master key."""
        given = request.headers.get("x-functions-key") or request.query.get("code") or ""
        return any(hmac.compare_digest(given.encode(), self._by_name[name].encode()) for name in (*names, "master"))


def read_keys(path: Path | None) -> Keys:
    """The keys, made and kept (0600) when the file is not there. ``BadSetting`` when it is of no use."""
    if path is None:
        return Keys(_new())
    try:
        return Keys(_kept(path) if path.exists() else _keep(_new(), path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        # The type only: the text of a JSON error may show part of the file.
        raise BadSetting(f"the keys file {path} cannot be used: {type(error).__name__}") from None


def _new() -> dict[str, str]:
    return {name: secrets.token_urlsafe(32) for name in NAMES}


def _keep(keys: dict[str, str], path: Path) -> dict[str, str]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(keys, file)
    return keys


def _kept(path: Path) -> dict[str, str]:
    found = json.loads(path.read_text())
    keys = {name: str(found[name]) for name in NAMES}
    if not all(keys.values()):
        raise ValueError("an empty key would let everybody in")
    return keys
