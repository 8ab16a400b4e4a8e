"""Makes the walks several times as fast: what is pure and asked for again and again is remembered.

Rows, bodies and certificates are never changed in place (clones of a state share them), so what was read from one of
them once holds for good. Nothing that decides or writes is remembered.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any
from unittest.mock import patch

from shared import chain_of_trust, ledger, rows
from shared.certificate import Certificate
from shared.rollover import Rollover
from tests.fakes import InMemoryDps
from tests.walk import breach_watch, group_watch, model

MOST = 20_000


@contextmanager
def remembering() -> Iterator[None]:
    """Rollovers by their rows, enrollments and groups by their bodies, signatures by certificates."""
    read, issued = rows.from_row, chain_of_trust.issued_by

    @lru_cache(MOST)
    def parsed(partition: str, row: str, due: str, facts: str) -> Rollover:
        return read({"PartitionKey": partition, "RowKey": row, "due_at": due, "facts": facts}, "")

    @lru_cache(MOST)
    def rollover(partition: str, row: str, due: str, facts: str, etag: str) -> Rollover:
        return replace(parsed(partition, row, due, facts), etag=etag)

    @lru_cache(MOST)
    def signed(certificate: bytes, issuer: bytes, both: Any) -> bool:
        return issued(*both)

    def from_row(row: Any, etag: str) -> Rollover:
        return rollover(row["PartitionKey"], row["RowKey"], row["due_at"], row["facts"], etag)

    def issued_by(certificate: Certificate, issuer: Certificate) -> bool:
        return signed(certificate.der, issuer.der, (certificate, issuer))

    with (
        patch.object(ledger, "from_row", from_row),
        patch.object(model, "from_row", from_row),
        patch.object(breach_watch, "from_row", from_row),
        patch.object(group_watch, "from_row", from_row),
        patch.object(rows, "_outgoing_facts", lru_cache(MOST)(rows._outgoing_facts)),
        patch.object(rows, "_incident_facts", lru_cache(MOST)(rows._incident_facts)),
        patch.object(dataclasses, "_replace", _replaced),
        patch.object(chain_of_trust, "issued_by", issued_by),
        patch.object(InMemoryDps, "group", _by_bodies(InMemoryDps.group, "grouped")),
        patch.object(InMemoryDps, "enrollment", _by_bodies(InMemoryDps.enrollment, "enrolled", "registrations")),
    ):
        yield


def _replaced(self: Any, /, **changes: Any) -> Any:
    """What ``dataclasses.replace`` gives, without a look at each field: no class here has a ``__post_init__``."""
    kind = type(self)
    if hasattr(kind, "__post_init__") or not changes.keys() <= self.__dict__.keys():
        raise TypeError(f"{kind} is not replaced like this")
    new = object.__new__(kind)
    new.__dict__.update(self.__dict__)
    new.__dict__.update(changes)
    return new


def _by_bodies(read: Any, *places: str) -> Any:
    """``read``, remembered as long as the bodies that it reads are the same objects."""
    known: dict[tuple[int, ...], tuple[list[Any], Any]] = {}

    def found(self: InMemoryDps, name: str) -> Any:
        bodies = [getattr(self, place).get(name.lower()) for place in places]
        key = tuple(map(id, bodies))
        if key not in known:
            if len(known) > MOST:
                known.clear()
            known[key] = bodies, read(self, name)  # with the bodies: an ID is one object's as long as that lives
        return known[key][1]

    return found
