"""Things that go wrong on request: refused, slow, cut before, or cut after the work was done."""

import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

Kind = Literal["status", "latency", "lost_reply", "reset"]


@dataclass
class Fault:
    """One rule. It matches by service, operation name and method ("*" = any) and wears out after `times`.

    `path` narrows it to requests to such a path, in the way of file names: "/certificates/dev-01/*".

    `status` answers with `status` (and `retry_after` seconds) instead of the handler; `latency` waits `seconds`
    first; `reset` cuts the connection before the handler; `lost_reply` cuts it after the handler has done its work.
    `skip` lets that many matching requests pass first. With `probability` below 1 each match is drawn from a
    generator started with `seed`, so that a run can be repeated. `times` = -1 never wears out.
    """

    kind: Kind
    service: str = "*"
    operation: str = "*"
    method: str = "*"
    path: str = "*"
    times: int = 1
    skip: int = 0
    only_writes: bool = False
    status: int = 503
    retry_after: float | None = None
    seconds: float = 0.0
    probability: float = 1.0
    seed: int = 0
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in ("status", "latency", "lost_reply", "reset"):
            raise ValueError(f"no fault of kind {self.kind!r}")
        self._random = random.Random(self.seed)

    def _matches(self, service: str, operation: str, method: str, path: str, *, writes: bool) -> bool:
        return (
            self.service in ("*", service)
            and self.operation in ("*", operation)
            and self.method in ("*", method)
            and fnmatchcase(path, self.path)
            and (writes or not self.only_writes)
        )

    def strikes(self, service: str, operation: str, method: str, path: str, *, writes: bool) -> bool:
        """Whether this rule acts on the request now; counts it if so."""
        if self.times == 0 or not self._matches(service, operation, method, path, writes=writes):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.times -= 1 if self.times > 0 else 0
        self.hits += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """The rule as the control port shows it."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class Faults:
    """The rules in force, in the order they were added."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def add(self, rule: dict[str, Any]) -> Fault:
        """Add the rule that this JSON object describes; ValueError when it describes none."""
        try:
            fault = Fault(**rule)
        except TypeError as error:
            raise ValueError(f"not a fault: {error}") from None
        self.rules.append(fault)
        return fault

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.rules.clear()

    def striking(self, service: str, operation: str, method: str, path: str = "", *, writes: bool) -> list[Fault]:
        """The rules that act on this request: all latencies, and the first of any other kind."""
        found: list[Fault] = []
        for rule in self.rules:
            decided = any(fault.kind != "latency" for fault in found)
            if decided and rule.kind != "latency":
                continue
            if rule.strikes(service, operation, method, path, writes=writes):
                found.append(rule)
        return found
