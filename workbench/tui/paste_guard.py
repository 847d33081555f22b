"""Guards single-key decisions against a paste: a terminal may deliver the rest of one as single keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

PASTE_GUARD_S = 0.15
"""How long single keys are no decisions after a paste."""
BURST_KEYS, BURST_S = 8, 0.05


class PasteGuard:
    """Says whether a key is meant. ``clock`` gives seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._until = 0.0
        self._keys: deque[float] = deque(maxlen=BURST_KEYS)

    def pasted(self) -> None:
        """A paste arrived: the next keys may be the rest of it."""
        self._until = self.clock() + PASTE_GUARD_S

    def is_on(self) -> bool:
        """Whether a key that arrives now is the rest of a paste; it may not be the last one, so this prolongs it."""
        if self.clock() >= self._until:
            return False
        self.pasted()
        return True

    def is_burst(self) -> bool:
        """Count a key that decides; True when eight came within 50 ms, which is no person but a paste sent as keys."""
        now = self.clock()
        self._keys.append(now)
        if len(self._keys) < BURST_KEYS or now - self._keys[0] > BURST_S:
            return False
        self.pasted()
        return True
