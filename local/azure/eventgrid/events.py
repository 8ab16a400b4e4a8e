"""The two envelopes of an event (docs: "Azure Key Vault as Event Grid source", CloudEvents v1.0 schema)."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]


@dataclass(frozen=True)
class Event:
    """One thing that happened; its ID stays the same on every delivery."""

    topic: str
    subject: str
    type: str
    time: datetime
    data: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def as_event_grid(self) -> dict[str, Any]:
        """The Event Grid schema."""
        return {
            "id": self.id,
            "topic": self.topic,
            "subject": self.subject,
            "eventType": self.type,
            "data": self.data,
            "dataVersion": "1",
            "metadataVersion": "1",
            "eventTime": _seven_digits(self.time),
        }

    def as_cloud_event(self) -> dict[str, Any]:
        """CloudEvents 1.0."""
        return {
            "id": self.id,
            "source": self.topic,
            "specversion": "1.0",
            "type": self.type,
            "subject": self.subject,
            "time": _seven_digits(self.time),
            "data": self.data,
        }

    def in_schema(self, schema: Schema) -> dict[str, Any]:
        """The envelope that a subscription asked for."""
        return self.as_cloud_event() if schema == "CloudEventSchemaV1_0" else self.as_event_grid()


def certificate_data(
    vault_url: str, vault_name: str, name: str, version: str, nbf: datetime, exp: datetime, *, as_text: bool
) -> dict[str, Any]:
    """The `data` of Microsoft.KeyVault.Certificate* events. NBF and EXP are seconds since 1970, numbers or text."""
    start, end = int(nbf.timestamp()), int(exp.timestamp())
    return {
        "Id": f"{vault_url}/certificates/{name}/{version}",
        "VaultName": vault_name,
        "ObjectType": "Certificate",
        "ObjectName": name,
        "Version": version,
        "NBF": str(start) if as_text else start,
        "EXP": str(end) if as_text else end,
    }


def _seven_digits(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
