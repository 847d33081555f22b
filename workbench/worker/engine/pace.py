"""How much of a prompt is read in one go, so that neither other answers nor a cancel wait long for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from workbench.worker.engine.batch import Reading

SHARED_SECONDS = 0.1  # while others are answering: each of their streams stands still as long
ALONE_SECONDS = 0.8  # when only a newcomer can wait for it; large chunks are read faster
FLOPS = {"cpu": 3e10, "cuda": 5e13}  # a low guess, before anything was measured
FEWEST, MOST = 32, 8192


class Pace:
    """Learns from each chunk how long a token takes to read; at first two operations per parameter are assumed."""

    def __init__(self, device: torch.device, parameters: int) -> None:
        self._device = device
        self._token_seconds = 2 * parameters / FLOPS.get(device.type, FLOPS["cpu"])

    def columns(self, rows: int, *, is_alone: bool) -> int:
        """How many columns of so many rows to read next."""
        tokens = (ALONE_SECONDS if is_alone else SHARED_SECONDS) / self._token_seconds
        return int(min(max(tokens / rows, FEWEST), MOST))

    def timed(self, reading: Reading, columns: int) -> None:
        """Read that many columns, and learn from how long it took."""
        tokens = len(reading.rows) * min(columns, reading.remaining)
        began = time.monotonic()
        reading.read(columns)
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        if tokens >= FEWEST:
            self._token_seconds += 0.5 * ((time.monotonic() - began) / tokens - self._token_seconds)
