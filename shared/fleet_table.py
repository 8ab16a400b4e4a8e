"""The table of the works on fleets, as they need it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from shared.ledger import Row, Table


class FleetTable(Table, Protocol):
    """The table as the works need it."""

    def slice(
        self,
        partition: str,
        first: str,
        beyond: str,
        *,
        columns: Sequence[str] | None = None,
        due: str | None = None,
        is_open: bool = False,
    ) -> Iterator[tuple[Row, str]]:
        """Rows of a partition from key ``first`` to before ``beyond``, in order, page by page: whole or in part; only
        open ones, or only open ones that were due by a stamp."""
