"""How many devices are asked to move at once, and whether more may be. Pure.

The first wave is a canary; each next one is some times larger, and begins when enough of the last one moved. What
counts is who can be heard: a device without a session when it was planned says nothing of the incoming CA until it
moves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.fleet import Wave


@dataclass(frozen=True)
class WavePolicy:
    """What the platform team decides (application settings)."""

    canary: int = 5
    """Devices of the first wave: no more are harmed by an incoming CA that does not work."""
    growth: int = 4
    """How many times larger each next wave is."""
    moved_share: float = 0.95
    """What part of a wave must have moved before the next one begins."""
    abort_share: float = 0.1
    """If after ``patience`` a larger part has not moved, no further device is asked."""
    patience: timedelta = timedelta(hours=1)
    complete_share: float = 0.98
    """What part of the fleet must be done before the rest holds up the rollover no longer."""

    def size(self, number: int) -> int:
        """How many devices wave ``number``, from 1, takes."""
        return self.canary * int(self.growth ** min(number - 1, 30))


def numbered(count: int, waves: Sequence[tuple[int, int]], policy: WavePolicy) -> Iterator[tuple[int, int]]:
    """How ``count`` further devices fall into waves, after those that were numbered: wave, devices; in order."""
    number, taken = max(len(waves), 1), waves[-1][1] if waves else 0
    while count:
        if taken == policy.size(number):
            number, taken = number + 1, 0
        some = min(count, policy.size(number) - taken)
        yield number, some
        count, taken = count - some, taken + some


def may_open_next(wave: Wave, now: datetime, policy: WavePolicy) -> bool:
    """Whether enough of the last wave moved for the next one to begin.

    Also when nobody of it had to be asked; and after ``patience``, when so few are left that it is not stopped either.
    """
    if not wave.asked or wave.asked_at is None:
        return wave.asked
    if now - wave.asked_at >= policy.patience and not _too_many_behind(wave, policy):
        return wave.reachable > 0
    return wave.reachable > 0 and wave.moved >= policy.moved_share * wave.reachable


def _too_many_behind(wave: Wave, policy: WavePolicy) -> bool:
    return wave.reachable - wave.moved > policy.abort_share * wave.reachable


def why_halt(waves: Sequence[Wave], now: datetime, policy: WavePolicy) -> str | None:
    """Why no further device may be asked; None while more may.

    ``waves``: those that were begun; the last of them may be asked in part.
    """
    for wave in waves:
        if wave.asked_at is None or not wave.asked or now - wave.asked_at < policy.patience:
            continue
        minutes = round(policy.patience.total_seconds() / 60)
        if not wave.reachable:
            return (
                f"none of the {wave.size} devices of wave {wave.number} has been heard of in {minutes} minutes, so"
                f" nothing tells whether devices can move: {_named(wave)}"
            )
        if _too_many_behind(wave, policy):
            return (
                f"{wave.reachable - wave.moved} of {wave.reachable} connected devices of wave {wave.number} have not"
                f" moved in {minutes} minutes: {_named(wave)}"
            )
    return None


def _named(wave: Wave) -> str:
    shown = ", ".join(wave.stragglers[:10])
    more = wave.size - wave.moved - min(len(wave.stragglers), 10)
    return f"{shown} and {more} more" if shown and more > 0 else shown or f"{more} devices"
