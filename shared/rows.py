"""How a rollover and its history lie in table rows.

The facts are one JSON column, so that a release can add a fact with a default and still read the rows of the
last one; the other columns exist to be queried and to be read by a person in a table browser.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.certificate import Outgoing
from shared.enrollment import Slot
from shared.rollover import Incoming, Outcome, Plan, Rollover, Step


@dataclass(frozen=True)
class History:
    """One record of a rollover's history: who did what, why, and how the world looked before and after."""

    at: datetime
    who: str
    what: str
    why: str
    step: Step | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0


def stamp(when: datetime) -> str:
    """A UTC time as text of fixed width, so that stamps sort and compare as texts."""
    return when.isoformat(timespec="microseconds")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _known_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def to_row(rollover: Rollover) -> dict[str, Any]:
    """The table row of a rollover."""
    partition, _, number = rollover.id.rpartition(".")
    outgoing, incoming = rollover.outgoing, rollover.incoming
    facts = {
        "plan": rollover.plan,
        "registration_id": rollover.registration_id,
        "device_id": rollover.device_id,
        "certificate_name": rollover.certificate_name,
        "cause": rollover.cause,
        "started_at": stamp(rollover.started_at),
        "outgoing": {
            "sha1_thumbprint": outgoing.sha1_thumbprint,
            "sha256_thumbprint": outgoing.sha256_thumbprint,
            "not_after": stamp(outgoing.not_after),
            "public_key_sha256": outgoing.public_key_sha256,
        },
        "standby": rollover.standby,
        "replaces": rollover.replaces,
        "baseline": stamp(rollover.baseline) if rollover.baseline else None,
        "on_incoming_at_start": rollover.on_incoming_at_start,
        "incoming": incoming
        and {
            "version": incoming.version,
            "sha1_thumbprint": incoming.sha1_thumbprint,
            "sha256_thumbprint": incoming.sha256_thumbprint,
            "not_after": stamp(incoming.not_after),
        },
        "done": list(rollover.done),
        "acts": rollover.acts,
        "acted_at": stamp(rollover.acted_at) if rollover.acted_at else None,
        "backs": rollover.backs,
        "waiting_for": rollover.waiting_for,
        "waiting_since": stamp(rollover.waiting_since) if rollover.waiting_since else None,
        "outcome": rollover.outcome,
        "outcome_reason": rollover.outcome_reason,
        "next_action": rollover.next_action,
        "ended_at": stamp(rollover.ended_at) if rollover.ended_at else None,
        "records": rollover.records,
        "head": rollover.head,
        "outbox": list(rollover.outbox),
    }
    return {
        "PartitionKey": partition,
        "RowKey": f"rollover.{int(number):06}",
        "registration_id": rollover.registration_id,
        "status": rollover.status,
        "next_step": rollover.next_step or "",
        "waiting_for": rollover.waiting_for or "",
        "open": rollover.outcome is None,
        "due_at": stamp(rollover.due_at) if rollover.due_at else "",
        "unpublished": bool(rollover.outbox),
        "facts": json.dumps(facts),
    }


def from_row(row: Mapping[str, Any], etag: str) -> Rollover:
    """The rollover that lies in a row."""
    facts = json.loads(row["facts"])
    outgoing, incoming, outcome = facts["outgoing"], facts.get("incoming"), facts.get("outcome")
    return Rollover(
        id=f"{row['PartitionKey']}.{int(row['RowKey'].partition('.')[2])}",
        plan=Plan(facts["plan"]),
        registration_id=facts["registration_id"],
        device_id=facts["device_id"],
        certificate_name=facts["certificate_name"],
        cause=facts["cause"],
        started_at=_known_time(facts["started_at"]),
        outgoing=Outgoing(
            sha1_thumbprint=outgoing["sha1_thumbprint"],
            sha256_thumbprint=outgoing["sha256_thumbprint"],
            not_after=_known_time(outgoing["not_after"]),
            public_key_sha256=outgoing.get("public_key_sha256"),
        ),
        standby=Slot(facts["standby"]),
        replaces=facts.get("replaces"),
        baseline=_time(facts.get("baseline")),
        on_incoming_at_start=facts.get("on_incoming_at_start", False),
        incoming=incoming
        and Incoming(
            version=incoming["version"],
            sha1_thumbprint=incoming["sha1_thumbprint"],
            sha256_thumbprint=incoming["sha256_thumbprint"],
            not_after=_known_time(incoming["not_after"]),
        ),
        done=tuple(Step(step) for step in facts.get("done", ())),
        acts=facts.get("acts", 0),
        acted_at=_time(facts.get("acted_at")),
        backs=facts.get("backs", 0),
        waiting_for=facts.get("waiting_for"),
        waiting_since=_time(facts.get("waiting_since")),
        due_at=_time(row.get("due_at")),
        outcome=Outcome(outcome) if outcome else None,
        outcome_reason=facts.get("outcome_reason"),
        next_action=facts.get("next_action"),
        ended_at=_time(facts.get("ended_at")),
        records=facts.get("records", 0),
        head=facts.get("head", ""),
        outbox=tuple(facts.get("outbox", ())),
        etag=etag,
    )


def history_row(rollover: Rollover, record: History) -> dict[str, Any]:
    """The table row of the rollover's latest history record (number ``rollover.records``)."""
    partition, _, number = rollover.id.rpartition(".")
    return {
        "PartitionKey": partition,
        "RowKey": f"history.{int(number):06}.{rollover.records:05}",
        "at": stamp(record.at),
        "who": record.who,
        "step": record.step or "",
        "what": record.what,
        "why": record.why,
        "before": json.dumps(record.before),
        "after": json.dumps(record.after),
    }


def history_from_row(row: Mapping[str, Any]) -> History:
    """The history record that lies in a row."""
    return History(
        at=_known_time(row["at"]),
        who=row["who"],
        what=row["what"],
        why=row["why"],
        step=Step(row["step"]) if row["step"] else None,
        before=json.loads(row["before"]),
        after=json.loads(row["after"]),
        seq=int(row["RowKey"].rpartition(".")[2]),
    )
