"""Where the contract tests are aimed: at the stand-in, or at the real services that the environment names.

docs/contract.md tells people of these variables; this is the only place that reads them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PREFIX = "rollover-contract"
START = "ROLLOVER_LIVE_"
GLOBAL_DEVICE_HOST = "global.azure-devices-provisioning.net"
VARIABLES = tuple(
    START + name
    for name in (
        "DPS_CONNECTION",
        "DPS_HOST",
        "DPS_DEVICE_HOST",
        "ID_SCOPE",
        "HUB_CONNECTION",
        "HUB_HOST",
        "VAULT_URL",
        "ACKNOWLEDGE",
        "PREFIX",
    )
)
WHAT_TO_SET = (
    "To aim at real services set ROLLOVER_LIVE_DPS_HOST, ROLLOVER_LIVE_ID_SCOPE, ROLLOVER_LIVE_HUB_HOST "
    "and ROLLOVER_LIVE_ACKNOWLEDGE (docs/contract.md)."
)
# What a name may begin with: it ends up in registration IDs (lower case), device IDs and vault names alike.
_PREFIX = re.compile(r"[a-z][a-z0-9-]{3,23}")


class BadAim(ValueError):
    """The environment names services that must not, or cannot, be tested. The text holds no key."""


@dataclass(frozen=True)
class Aim:
    """Real services. Without a connection string the caller's own identity is used (DefaultAzureCredential)."""

    dps_host: str
    device_host: str
    id_scope: str
    hub_host: str
    vault_url: str | None
    prefix: str
    dps_connection: str | None = field(default=None, repr=False)
    hub_connection: str | None = field(default=None, repr=False)

    @property
    def resources(self) -> list[str]:
        """The host names of what is written to: what a person must acknowledge."""
        vault = [urlsplit(self.vault_url).netloc] if self.vault_url else []
        return [self.dps_host, self.hub_host, *vault]


def read_aim(environment: Mapping[str, str]) -> Aim | None:
    """What the environment names; None when it names nothing.

    BadAim lists everything that is missing, misspelt or not acknowledged, at once.
    """
    given = {name.removeprefix(START): value.strip() for name, value in environment.items() if name.startswith(START)}
    given = {name: value for name, value in given.items() if value}
    if not given:
        return None
    wrong = [f"{START}{name} is none of our variables" for name in given if START + name not in VARIABLES]
    aim = Aim(
        dps_host=_host(given, "DPS", wrong),
        device_host=given.get("DPS_DEVICE_HOST", GLOBAL_DEVICE_HOST),
        id_scope=given.get("ID_SCOPE", ""),
        hub_host=_host(given, "HUB", wrong),
        vault_url=given.get("VAULT_URL", "").rstrip("/") or None,
        prefix=given.get("PREFIX", PREFIX),
        dps_connection=given.get("DPS_CONNECTION"),
        hub_connection=given.get("HUB_CONNECTION"),
    )
    if not aim.id_scope:
        wrong.append(f"{START}ID_SCOPE is missing")
    if aim.vault_url and not aim.vault_url.startswith("https://"):
        wrong.append(f"{START}VAULT_URL must begin with https://")
    if not _PREFIX.fullmatch(aim.prefix):
        wrong.append(f"{START}PREFIX must be 4 to 24 of a-z, 0-9 and -, with a letter first")
    if not wrong:
        wrong += _unacknowledged(aim, given.get("ACKNOWLEDGE", ""))
    if wrong:
        raise BadAim("; ".join(wrong))
    return aim


def connection_parts(text: str) -> dict[str, str]:
    """HostName, SharedAccessKeyName and SharedAccessKey of a connection string."""
    return dict(part.partition("=")[::2] for part in text.split(";") if part)


def _host(given: Mapping[str, str], service: str, wrong: list[str]) -> str:
    named = given.get(f"{service}_HOST")
    connection = given.get(f"{service}_CONNECTION")
    if connection is not None:
        parts = connection_parts(connection)
        if not all(parts.get(name) for name in ("HostName", "SharedAccessKeyName", "SharedAccessKey")):
            wrong.append(f"{START}{service}_CONNECTION is no connection string of a shared access policy")
        elif named not in (None, parts["HostName"]):
            wrong.append(f"{START}{service}_HOST and {START}{service}_CONNECTION name different hosts")
        return parts.get("HostName", "")
    if named is None:
        wrong.append(f"{START}{service}_HOST or {START}{service}_CONNECTION is missing")
    elif "/" in named:
        wrong.append(f"{START}{service}_HOST is a host name, without https://")
    return named or ""


def _unacknowledged(aim: Aim, text: str) -> list[str]:
    """Nobody aims at production by accident: every resource is named twice."""
    if {one.strip().lower() for one in text.split(",") if one.strip()} == {one.lower() for one in aim.resources}:
        return []
    asked = ",".join(aim.resources)
    return [f"these tests create and delete; if that is what you want there, set {START}ACKNOWLEDGE={asked}"]
