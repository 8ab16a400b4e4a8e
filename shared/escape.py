"""placeholder until merged"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    name: str
    certain: bool
    why: str
