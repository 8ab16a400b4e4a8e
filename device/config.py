"""The agent's settings, and the file they are read from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.backoff import Backoff
from device.ports import CertificateSource
from device.sources import FolderSource, VaultSecretSource


@dataclass(frozen=True, slots=True)
class Config:
    """What one agent needs to know. Times are seconds.

    ``ca_file`` is a PEM file with the authorities the device trusts for DPS and hub; None: the system's own.
    ``poll_interval_s`` is how often the source is asked while nothing else makes the agent ask.
    """

    registration_id: str
    id_scope: str
    provisioning_host: str
    ca_file: Path | None = None
    poll_interval_s: float = 3600.0
    keep_alive_s: int = 60
    backoff: Backoff = field(default_factory=Backoff)

    def ca_pem(self) -> str | None:
        """The text of ``ca_file``."""
        return self.ca_file.read_text() if self.ca_file else None


def read_config(file: Path) -> tuple[Config, Path, CertificateSource]:
    """Read a JSON file; return the settings, the store's directory and the source.

    Shape::

        {"registration_id": …, "id_scope": …, "provisioning_host": …, "store": "dir",
         "source": {"folder": "dir", "pattern": "*.pem"} | {"vault_url": …, "secret_name": …},
         "ca_file"?: "file", "poll_interval_s"?: 3600, "keep_alive_s"?: 60, "backoff"?: {"base_s": 1, "cap_s": 300}}

    Raises ValueError that names what is missing or not known. Relative paths are relative to the file.
    """
    said: dict[str, Any] = json.loads(file.read_text())
    beside = file.parent
    try:
        store, source = beside / said.pop("store"), _source(said.pop("source"), beside)
        if "ca_file" in said:
            said["ca_file"] = beside / said["ca_file"]
        if "backoff" in said:
            said["backoff"] = Backoff(**said["backoff"])
        return Config(**said), store, source
    except KeyError as error:
        raise ValueError(f"{file}: {error.args[0]!r} is missing") from None
    except TypeError as error:
        raise ValueError(f"{file}: {str(error).partition('__init__() ')[2]}") from None


def _source(said: dict[str, str], beside: Path) -> CertificateSource:
    if "folder" in said:
        return FolderSource(beside / said["folder"], said.get("pattern", "*.pem"))
    from azure.identity import DefaultAzureCredential  # only a device with a vault needs it

    return VaultSecretSource(said["vault_url"], said["secret_name"], DefaultAzureCredential())
