"""What a caller was shown before a breach, kept until it is confirmed: the token is bound to exactly that plan.

One row each in partition ``incidents`` of the ledger's table, under the hash of the token: the token itself lies
nowhere. Who confirms twice gets what the first confirmation began.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.ledger import Table, Write
from shared.rows import COLUMN, stamp

PARTITION = "incidents"
LIFE = timedelta(minutes=15)
"""How long a preview can be confirmed: long enough to read it aloud to a colleague."""


@dataclass(frozen=True)
class Preview:
    """One preview."""

    key: str
    caller_id: str
    request: Mapping[str, Any]
    plans: Mapping[str, Mapping[str, Any]]
    """Key of each target → what the caller agrees to (``material`` of the target)."""
    expires_at: datetime
    devices: int = 0
    """How many devices it was said to touch."""
    etag: str = ""

    @property
    def incident_id(self) -> str:
        """The ID of the incident that a confirmation begins."""
        return f"incident-{self.key[:16]}"


class Previews:
    """Previews, over the ledger's table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def keep(
        self,
        caller_id: str,
        request: Mapping[str, Any],
        plans: Mapping[str, Mapping[str, Any]],
        now: datetime,
        *,
        devices: int,
    ) -> tuple[Preview, str]:
        """Keep a new preview; with it the token that confirms it, which is shown this once."""
        token = secrets.token_urlsafe(24)
        preview = Preview(_key(token), caller_id, request, plans, now + LIFE, devices)
        text = json.dumps({"request": request, "plans": plans, "devices": devices})
        parts = [text[at : at + COLUMN] for at in range(0, len(text), COLUMN)]
        row = {
            "PartitionKey": PARTITION,
            "RowKey": preview.key,
            "caller_id": caller_id,
            "expires_at": stamp(preview.expires_at),
            "parts": len(parts),
            **{f"part{number}": part for number, part in enumerate(parts)},
        }
        etag = self._table.commit([Write(row)])[0]
        return replace(preview, etag=etag), token

    def find(self, token: str) -> Preview | None:
        """The preview that this token confirms."""
        key = _key(token)
        found = self._table.read(PARTITION, key)
        if found is None:
            return None
        row, etag = found
        kept = json.loads("".join(row[f"part{number}"] for number in range(row["parts"])))
        return Preview(
            key=key,
            caller_id=row["caller_id"],
            request=kept["request"],
            plans=kept["plans"],
            expires_at=datetime.fromisoformat(row["expires_at"]),
            devices=kept.get("devices", len(kept["plans"])),
            etag=etag,
        )


def _key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:32]
