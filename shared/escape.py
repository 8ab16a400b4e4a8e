"""placeholder until merged"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    name: str
    certain: bool
    why: str


def escape_routes(*_a: object, **_k: object) -> list[Route]:
    return []
