"""How a rollover and its history lie in table rows.

The facts are one JSON column, so that a release can add a fact with a default and still read the rows of the
last one; the other columns exist to be queried and to be read by a person in a table browser.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from shared.certificate import Outgoing
from shared.enrollment import Removed, Slot, Twin
from shared.incident import Incident, Mode
from shared.plans import Plan, Step
from shared.rollover import Incoming, Outcome, Rollover

COLUMN = 30_000
"""Characters of a text column (azure-docs table-service-data-model: 64 KiB of UTF-16)."""


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
    incoming = rollover.incoming
    facts = {
        "plan": rollover.plan,
        "registration_id": rollover.registration_id,
        "device_id": rollover.device_id,
        "group_id": rollover.group_id,
        "member_of": rollover.member_of,
        "certificate_name": rollover.certificate_name,
        "cause": rollover.cause,
        "started_at": stamp(rollover.started_at),
        "outgoing": _outgoing_facts(rollover.outgoing),
        "standby": rollover.standby,
        "replaces": rollover.replaces,
        "baseline": stamp(rollover.baseline) if rollover.baseline else None,
        "on_incoming_at_start": rollover.on_incoming_at_start,
        "quiet_at": stamp(rollover.quiet_at) if rollover.quiet_at else None,
        "incoming": incoming
        and {
            "version": incoming.version,
            "sha1_thumbprint": incoming.sha1_thumbprint,
            "sha256_thumbprint": incoming.sha256_thumbprint,
            "not_after": stamp(incoming.not_after),
        },
        "incident": rollover.incident and _incident_facts(rollover.incident),
        "done": list(rollover.done),
        "acts": rollover.acts,
        "acted_at": stamp(rollover.acted_at) if rollover.acted_at else None,
        "backs": rollover.backs,
        "round": rollover.round,
        "waiting_for": rollover.waiting_for,
        "waiting_since": stamp(rollover.waiting_since) if rollover.waiting_since else None,
        "arrived_at": stamp(rollover.arrived_at) if rollover.arrived_at else None,
        "held_up_since": stamp(rollover.held_up_since) if rollover.held_up_since else None,
        "refused_since": stamp(rollover.refused_since) if rollover.refused_since else None,
        "told_overdue_at": stamp(rollover.told_overdue_at) if rollover.told_overdue_at else None,
        "outcome": rollover.outcome,
        "outcome_reason": rollover.outcome_reason,
        "next_action": rollover.next_action,
        "ended_at": stamp(rollover.ended_at) if rollover.ended_at else None,
        "reopened_at": stamp(rollover.reopened_at) if rollover.reopened_at else None,
        "tried_again_at": stamp(rollover.tried_again_at) if rollover.tried_again_at else None,
        "records": rollover.records,
        "head": rollover.head,
        "outbox": list(rollover.outbox),
        "trace": rollover.trace,
    }
    return {
        "PartitionKey": partition,
        "RowKey": f"rollover.{int(number):06}",
        "registration_id": rollover.registration_id,
        "plan": rollover.plan,
        "incident": rollover.incident.id if rollover.incident else "",
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
    incoming, incident, outcome = facts.get("incoming"), facts.get("incident"), facts.get("outcome")
    return Rollover(
        id=f"{row['PartitionKey']}.{int(row['RowKey'].partition('.')[2])}",
        plan=Plan(facts["plan"]),
        registration_id=facts["registration_id"],
        device_id=facts["device_id"],
        group_id=facts.get("group_id"),
        member_of=facts.get("member_of"),
        certificate_name=facts["certificate_name"],
        cause=facts["cause"],
        started_at=_known_time(facts["started_at"]),
        outgoing=_outgoing(facts["outgoing"]),
        standby=Slot(facts["standby"]),
        replaces=facts.get("replaces"),
        baseline=_time(facts.get("baseline")),
        on_incoming_at_start=facts.get("on_incoming_at_start", False),
        quiet_at=_time(facts.get("quiet_at")),
        incoming=incoming
        and Incoming(
            version=incoming["version"],
            sha1_thumbprint=incoming["sha1_thumbprint"],
            sha256_thumbprint=incoming["sha256_thumbprint"],
            not_after=_known_time(incoming["not_after"]),
        ),
        incident=_incident(incident) if incident else None,
        done=tuple(Step(step) for step in facts.get("done", ())),
        acts=facts.get("acts", 0),
        acted_at=_time(facts.get("acted_at")),
        backs=facts.get("backs", 0),
        round=facts.get("round", 0),
        waiting_for=facts.get("waiting_for"),
        waiting_since=_time(facts.get("waiting_since")),
        arrived_at=_time(facts.get("arrived_at")),
        held_up_since=_time(facts.get("held_up_since")),
        refused_since=_time(facts.get("refused_since")),
        told_overdue_at=_time(facts.get("told_overdue_at")),
        due_at=_time(row.get("due_at")),
        outcome=Outcome(outcome) if outcome else None,
        outcome_reason=facts.get("outcome_reason"),
        next_action=facts.get("next_action"),
        ended_at=_time(facts.get("ended_at")),
        reopened_at=_time(facts.get("reopened_at")),
        tried_again_at=_time(facts.get("tried_again_at")),
        records=facts.get("records", 0),
        head=facts.get("head", ""),
        outbox=tuple(facts.get("outbox", ())),
        trace=facts.get("trace", ""),
        etag=etag,
    )


def _outgoing_facts(outgoing: Outgoing) -> dict[str, Any]:
    return {**asdict(outgoing), "not_after": stamp(outgoing.not_after)}


def _outgoing(facts: Mapping[str, Any]) -> Outgoing:
    known = {one.name: facts[one.name] for one in fields(Outgoing) if one.name in facts}
    return Outgoing(**{**known, "not_after": _known_time(facts["not_after"])})


def _incident_facts(incident: Incident) -> dict[str, Any]:
    return {
        **asdict(incident),
        "compromised": [_outgoing_facts(one) for one in incident.compromised],
        "approve_by": stamp(incident.approve_by) if incident.approve_by else None,
        "compromised_since": stamp(incident.compromised_since) if incident.compromised_since else None,
    }


def _incident(facts: Mapping[str, Any]) -> Incident:
    known = {one.name: facts[one.name] for one in fields(Incident) if one.name in facts}
    return Incident(
        **{
            **known,
            "mode": Mode(facts["mode"]),
            "compromised": tuple(_outgoing(one) for one in facts["compromised"]),
            "accepted_routes": tuple(facts.get("accepted_routes", ())),
            "together": tuple(facts.get("together", ())),
            "approve_by": _time(facts.get("approve_by")),
            "compromised_since": _time(facts.get("compromised_since")),
        }
    )


def removed_row(partition: str, key: str, removed: Removed) -> dict[str, Any]:
    """The table row of a deleted hub identity; its twin in parts, for a column holds 32,768 characters at most."""
    twin = removed.twin.canonical()
    parts = [twin[at : at + COLUMN] for at in range(0, len(twin), COLUMN)]
    return {
        "PartitionKey": partition,
        "RowKey": key,
        "at": stamp(removed.at),
        "generation": removed.generation,
        "connected": removed.connected,
        "parts": len(parts),
        **{f"twin{number}": part for number, part in enumerate(parts)},
    }


def removed_from_row(row: Mapping[str, Any]) -> Removed:
    """The deleted hub identity that lies in a row."""
    twin = json.loads("".join(row[f"twin{number}"] for number in range(row["parts"])))
    return Removed(
        at=_known_time(row["at"]),
        generation=row["generation"],
        connected=row["connected"],
        twin=Twin("", twin["tags"], twin["desired"]),
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
