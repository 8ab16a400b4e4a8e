"""What a step decides when it has looked. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from shared.plans import Step


@dataclass(frozen=True)
class Act:
    """Change the world now. ``ask`` goes to the effect: parameters that the decision fixed."""

    why: str
    ask: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class AlreadyDone:
    """What the step establishes holds already."""

    why: str


class HeldUp(StrEnum):
    """Why a step could not even look, or act: not its own wait, but a service's."""

    REFUSED = "refused"
    """Not allowed, or not yet: a role may be on its way."""
    UNANSWERED = "unanswered"
    """Down, or throttling."""


@dataclass(frozen=True)
class Wait:
    """Not yet; look again after ``delay``. Waiting is normal and costs no retry."""

    why: str
    delay: timedelta
    held_up: HeldUp | None = None
    next_step: str = ""
    """For the person who is called when it lasts too long, where that is not just to mend what is waited for."""


@dataclass(frozen=True)
class Back:
    """The world changed so that an earlier step no longer holds: go back to it."""

    why: str
    to: Step


@dataclass(frozen=True)
class Refuse:
    """This rollover must not go on; ``why`` names what is wrong, ``next_step`` what a person can do about it."""

    why: str
    next_step: str = ""


@dataclass(frozen=True)
class NeedsPerson:
    """Only a person can go on; ``next_step`` says how."""

    why: str
    next_step: str


Verdict = Act | AlreadyDone | Wait | Back | Refuse | NeedsPerson
