"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: any time between nothing and a ceiling that doubles with each failure.

    Full jitter, because what drops one device's connection often drops the whole fleet's, and the fleet must not
    come back in step. ``base_s`` and ``cap_s`` are seconds; ``uniform(low, high)`` is the source of randomness.
    """

    base_s: float = 1.0
    cap_s: float = 300.0
    uniform: Callable[[float, float], float] = field(default=random.SystemRandom().uniform, repr=False)

    def delay(self, failures: int) -> float:
        """Seconds to wait after ``failures`` failures in a row (1 or more)."""
        # 2.0 ** 1024 overflows, and nobody waits that long
        return self.uniform(0.0, min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60)))
