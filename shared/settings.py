"""The application settings, read once, every mistake reported at the same time.

``local.settings.example.json`` lists them all with harmless values.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from shared.errors import Misconfigured
from shared.seen import Policy
from shared.target import Due
from shared.waves import WavePolicy

STORAGE = "RolloverStorage"
"""Prefix of the storage connection settings, and the ``connection`` of every queue trigger."""
RESOURCE_ID = (
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.Devices/(?P<kind>[^/]+)/(?P<name>[^/]+)"
)
MANY_DAYS = 36525
"""A hundred years: more is a slip of the pen."""


@dataclass(frozen=True)
class Settings:
    """What a deployment is told about its surroundings."""

    dps_endpoint: str
    """``https://<name>.azure-devices-provisioning.net``"""
    hub_hostname: str
    """``<name>.azure-devices.net``, without scheme."""
    hub_name: str
    """What the hub's log calls it, in its resource ID: ``IOT_HUB_NAME``, or else the host name's first label."""
    vault_url: str
    """``https://<name>.vault.azure.net``"""
    topic_endpoint: str
    """Where lifecycle events go: the custom topic's endpoint."""
    storage_connection: str | None
    """A storage connection string; None when the identity is used."""
    queue_url: str | None
    table_url: str | None
    policy: Policy
    due: Due
    reprovision_method: str
    """The direct method that makes a device register again."""
    entra_issuer: str | None
    """Who issues the tokens of those who call the HTTP API: ``https://login.microsoftonline.com/<tenant>/v2.0``."""
    entra_audience: str | None
    """Whom such a token must be for: the client ID of the API's app registration. None closes the API."""
    waves: WavePolicy
    """How many devices of a group are asked to move at once, and how many are enough."""
    breach_fuse: int
    """How many devices one breach may touch before a second person must agree; 0: always."""
    verify_challenge_resource: bool
    """Off only where the vault's host name is not under its token audience (a private stand-in)."""
    arm_endpoint: str = "https://management.azure.com"
    dps_resource_id: str | None = None
    """The DPS as a resource, whose CA certificates are managed; None: they are not."""
    hub_resource_id: str | None = None
    """The hub as a resource, which says its tier and units."""
    hub_sku: tuple[str, int] = ("S1", 1)
    """Tier and units where the hub's resource does not say them."""
    warn: Due = Due(window=timedelta(days=60), share=0.34)  # noqa: RUF009  frozen
    """When a certificate that nothing would roll is told of: before one that is rolled would be due."""
    ca_verified_on_upload: bool = False
    """CA certificates are vouched for on upload (azure-docs how-to-verify-certificates), not proved to be possessed."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        Misconfigured: naming every setting that is missing or cannot be understood.
    """
    reader = _Reader(environment)
    connection = environment.get(STORAGE) or environment.get(f"AzureWebJobs{STORAGE}")
    issuer, audience = reader.entra("ENTRA_ISSUER", "ENTRA_AUDIENCE")
    settings = Settings(
        dps_endpoint=reader.url("DPS_ENDPOINT"),
        hub_hostname=(hub := reader.host("IOT_HUB_HOSTNAME")),
        hub_name=environment.get("IOT_HUB_NAME", "").strip() or hub.partition(".")[0],
        vault_url=reader.url("KEY_VAULT_URL"),
        topic_endpoint=reader.url("EVENT_TOPIC_ENDPOINT"),
        storage_connection=connection,
        queue_url=None if connection else reader.url(f"{STORAGE}__queueServiceUri"),
        table_url=None if connection else reader.url(f"{STORAGE}__tableServiceUri"),
        policy=Policy(
            retire_when_moved=reader.choice("RETIRE_WHEN", ("expired", "moved"), "expired") == "moved",
            straggler_grace=timedelta(days=reader.number("STRAGGLER_GRACE_DAYS", 7, MANY_DAYS)),
            device_budget=timedelta(days=reader.number("DEVICE_BUDGET_DAYS", 3, MANY_DAYS)),
            settle=timedelta(seconds=reader.number("CONTAINMENT_SETTLE_SECONDS", 60, 3600)),
        ),
        due=Due(
            window=timedelta(days=reader.number("ROLL_DAYS_BEFORE_EXPIRY", 30, MANY_DAYS)),
            share=(share := reader.number("ROLL_LIFETIME_SHARE", 0.34, 1)),
        ),
        warn=Due(
            window=timedelta(days=reader.number("WARN_DAYS_BEFORE_EXPIRY", 60, MANY_DAYS)),
            share=share,
        ),
        reprovision_method=environment.get("REPROVISION_METHOD", "reprovision"),
        entra_issuer=issuer,
        entra_audience=audience,
        waves=WavePolicy(
            canary=reader.count("WAVE_CANARY", 5, least=1),
            growth=reader.count("WAVE_GROWTH", 4, least=2),
            moved_share=reader.share("WAVE_MOVED_SHARE", 0.95),
            abort_share=reader.share("WAVE_ABORT_SHARE", 0.1),
            patience=timedelta(minutes=reader.number("WAVE_PATIENCE_MINUTES", 60, MANY_DAYS)),
            complete_share=reader.share("FLEET_COMPLETE_SHARE", 0.98),
        ),
        breach_fuse=reader.count("BREACH_FUSE", 10),
        verify_challenge_resource=reader.choice("KEY_VAULT_VERIFY_CHALLENGE_RESOURCE", ("true", "false"), "true")
        == "true",
        arm_endpoint=reader.url("ARM_ENDPOINT", "https://management.azure.com"),
        dps_resource_id=reader.resource("DPS_RESOURCE_ID", "provisioningServices"),
        hub_resource_id=reader.resource("IOT_HUB_RESOURCE_ID", "IotHubs"),
        hub_sku=reader.sku("HUB_SKU", "S1x1"),
        ca_verified_on_upload=reader.choice("CA_VERIFIED_ON_UPLOAD", ("true", "false"), "false") == "true",
    )
    reader.done()
    return settings


def _shown(value: str) -> str:
    """A value as a message may show it: one that could hold a key, pasted into the wrong setting, is not shown."""
    harmless = len(value) <= 80 and not re.search(r"[;=]|key|sig|secret", value, re.IGNORECASE)
    return repr(value) if harmless else "what it is (not shown: it may hold a key)"


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._problems: list[str] = []

    def _required(self, name: str) -> str:
        value = self._environment.get(name, "").strip()
        if not value:
            self._problems.append(f"{name} is missing")
        return value

    def url(self, name: str, default: str | None = None) -> str:
        value = ((default and self._environment.get(name, "").strip()) or default or self._required(name)).rstrip("/")
        try:
            parts = urlsplit(value)
            well_formed = parts.scheme in ("https", "http") and bool(parts.netloc)
        except ValueError:
            well_formed = False
        if value and not well_formed:
            self._problems.append(f"{name} must be a URL, not {_shown(value)}")
        return value

    def host(self, name: str) -> str:
        value = self._required(name)
        if value and not re.fullmatch(r"[A-Za-z0-9.-]+(:\d+)?", value):
            self._problems.append(f"{name} must be a host name without scheme or path, not {_shown(value)}")
        return value

    def number(self, name: str, default: float, below: float) -> float:
        text = self._environment.get(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = math.nan
        if 0 < value < below:
            return value
        self._problems.append(f"{name} must be a positive number below {below:g}, not {_shown(str(text))}")
        return default

    def count(self, name: str, default: int, least: int = 0) -> int:
        text = self._environment.get(name, str(default)).strip()
        if re.fullmatch(r"0|[1-9][0-9]{0,5}", text) and int(text) >= least:
            return int(text)
        self._problems.append(f"{name} must be a whole number from {least} to 999999, not {_shown(text)}")
        return default

    def share(self, name: str, default: float) -> float:
        text = self._environment.get(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = math.nan
        if 0 < value <= 1:
            return value
        self._problems.append(f"{name} must be a number above 0, and 1 at most, not {_shown(str(text))}")
        return default

    def resource(self, name: str, kind: str) -> str | None:
        value = self._environment.get(name, "").strip()
        found = re.fullmatch(RESOURCE_ID, value, re.IGNORECASE)
        if value and (found is None or found["kind"].lower() != kind.lower()):
            self._problems.append(
                f"{name} must be the resource ID of one of Microsoft.Devices/{kind}, not {_shown(value)}"
            )
        return value or None

    def sku(self, name: str, default: str) -> tuple[str, int]:
        text = self._environment.get(name, default).strip()
        found = re.fullmatch(r"([FBS][123])x([1-9][0-9]{0,2})", text, re.IGNORECASE)
        if found:
            return found[1].upper(), int(found[2])
        self._problems.append(f"{name} must be tier and units of the hub, like S1x10, not {_shown(text)}")
        return "S1", 1

    def entra(self, issuer_name: str, audience_name: str) -> tuple[str | None, str | None]:
        """Both or neither; an issuer that anybody on the way could speak for is none."""
        issuer, audience = (self._environment.get(name, "").strip() for name in (issuer_name, audience_name))
        if not issuer and not audience:
            return None, None
        if not issuer or not audience:
            self._problems.append(f"{issuer_name} and {audience_name} go together: both or neither")
        elif issuer.startswith("https://"):
            issuer = self.url(issuer_name)
        else:
            self._problems.append(f"{issuer_name} must begin with https://, not be {_shown(issuer)}")
        return issuer, audience

    def choice(self, name: str, options: tuple[str, ...], default: str) -> str:
        value = self._environment.get(name, default).strip().lower()
        if value not in options:
            self._problems.append(f"{name} must be one of {', '.join(options)}, not {_shown(value)}")
        return value

    def done(self) -> None:
        if self._problems:
            raise Misconfigured("application settings: " + "; ".join(self._problems))
